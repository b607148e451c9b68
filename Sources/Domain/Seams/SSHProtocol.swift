/// What our programs below sshd and paasd say to each other on `Settings.sshSocket`.
///
/// The first frame is an `SSHCall` in JSON. A `key` is answered with one `SSHReply` in JSON. A `session` turns the connection into
/// a stream of `SSHFrame`s both ways, until paasd sends `exit`.
public enum SSHCall: Codable, Sendable, Hashable {
    /// Whose key is it that a client offers? - Parameters: as sshd gives them.
    case key(type: String, base64: String)
    /// A client has shown that it has this key. - Parameter command: what it wants to run; nil: a shell.
    case session(key: KeyID, command: String?)
}

public enum SSHReply: Codable, Sendable, Hashable {
    case known(KeyID)
    case unknown
    case failed(ErrorReport)
}

/// First byte of the frames of a session.
public enum SSHFrame {
    /// From the client. Largest part that is sent: `maximumBytes`.
    public static let input: UInt8 = 0
    public static let endOfInput: UInt8 = 1
    /// For the client's standard output.
    public static let output: UInt8 = 2
    /// For its standard error: text.
    public static let message: UInt8 = 3
    /// Followed by the exit status in decimal.
    public static let exit: UInt8 = 4

    public static let maximumBytes = 65_536
}
