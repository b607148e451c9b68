import Domain

/// Something that was refused or went wrong: printed on standard error, exit code 1.
struct Failure: Error {
    var message: String
    /// HTTP status, when it is an answer of the API.
    var status: Int?

    init(_ message: String, status: Int? = nil) {
        self.message = message
        self.status = status
    }
}
