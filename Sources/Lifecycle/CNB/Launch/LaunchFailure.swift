/// Why a process can't be started. The codes are those that the contract leaves to the launcher.
struct LaunchFailure: Error, Hashable {
    enum Code: Int32, Sendable {
        /// `CNB_PLATFORM_API` asks for a version that this launcher does not keep to.
        case platformAPI = 11
        /// The slug was built for a Buildpack API that this launcher does not keep to.
        case buildpackAPI = 12
        /// The slug's launch metadata are missing or broken.
        case metadata = 80
        /// No process of that type, or none for this execution environment.
        case noProcess = 81
        /// A layer's environment files can't be read.
        case environment = 82
        /// A program in `exec.d` failed or wrote something that can't be used.
        case execD = 83
        /// The app's folder or the process's working directory can't be entered.
        case directory = 84
        /// No such program in `PATH`.
        case notFound = 85
        /// The program can't be started.
        case exec = 86
    }

    var code: Code
    var message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}
