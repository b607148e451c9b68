import Domain
import Glibc
import OS

/// Where things are in a build container. Tests put a folder of their own before all of them (`PAAS_BUILD_ROOT`).
struct BuildRoots: Sendable {
    /// The checkout; what is there at the end is the slug.
    let app: String
    /// Kept for the app's next build.
    let cache: String
    /// ENV_DIR: a file for each config var.
    let env: String
    /// What the platform reads afterwards.
    let result: String
    /// Layers of Cloud Native Buildpacks.
    let layers: String
    let tmp: String
    /// The platform's own buildpacks, read-only.
    let platformBuildpacks: String
    /// Lines `NAME=value` of the image: how registries are reached.
    let environmentFile: String

    /// What packages the image that runs slugs has, in dpkg's form; the stack leaves it in the image that builds.
    let runPackages: String
    /// The lists of the files of this image's packages.
    let packageLists: String

    init(environment: [String: String]) {
        let root = environment["PAAS_BUILD_ROOT"] ?? ""
        app = root + "/app"
        cache = root + "/cache"
        env = root + "/env"
        result = root + "/result"
        layers = root + "/layers"
        tmp = root + "/tmp"
        runPackages = root + "/usr/share/slipway/run-status"
        packageLists = root + "/var/lib/dpkg/info"
        platformBuildpacks = environment["PAAS_BUILDPACKS_DIR"] ?? "/paas/buildpacks"
        environmentFile = environment["PAAS_BUILD_ENVIRONMENT"] ?? "/etc/environment"
    }

    /// - Throws: `environmentIncomplete` naming the folder.
    func check() throws(BuildStop) {
        for folder in [app, cache, result, tmp] {
            var info = stat()
            guard stat(folder, &info) == 0, info.st_mode & S_IFMT == S_IFDIR, access(folder, W_OK | X_OK) == 0 else {
                throw BuildStop(.environmentIncomplete, "The build folder \(folder) can't be written.")
            }
        }
    }

    /// Free bytes and free inodes of the file system that holds `path`; nil if it can't be asked.
    static func free(_ path: String) -> (bytes: Int64, inodes: Int64)? {
        var info = statvfs()
        guard statvfs(path, &info) == 0 else { return nil }
        return (
            Int64(clamping: info.f_bavail) * Int64(clamping: info.f_frsize),
            // File systems without a table of inodes say 0 of 0.
            info.f_files == 0 ? .max : Int64(clamping: info.f_favail)
        )
    }
}
