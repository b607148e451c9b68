/// Prints an error and its causes, outermost first. For the platform's own log: causes may say more than a caller may know.
public struct ErrorChain: CustomStringConvertible {
    public let error: any Error
    public init(_ error: any Error) { self.error = error }

    public var description: String {
        var parts: [String] = []
        var next: (any Error)? = error
        while let current = next, parts.count < 16 {
            parts.append("\(current)")
            next = (current as? PaaSError)?.cause
        }
        return parts.joined(separator: ": ")
    }
}
