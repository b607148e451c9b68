/// Which of a stack's two images.
public enum StackKind: String, Sendable, Codable {
    /// What processes run on.
    case run
    /// What builds run on: the run image and compilers.
    case build
}
