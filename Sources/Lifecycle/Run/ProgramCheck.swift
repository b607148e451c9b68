import Domain
import Glibc
import OS

/// Whether a file of a buildpack can be started, and if not, what is wrong with it: execve's own answers (`No such file or
/// directory` for a missing interpreter) lead nobody to the cause.
enum ProgramCheck {
    /// Looks at the first bytes of a script or program.
    /// - Parameters:
    ///   - head: at least the first 256 bytes, or all.
    ///   - isThere: whether a path holds a program.
    /// - Returns: nil if it can be started, else what is wrong: `is not a program: …`.
    static func fault(head: [UInt8], path: String, isThere: (String) -> Bool) -> String? {
        if head.starts(with: [0x7F, 0x45, 0x4C, 0x46]) { return nil }
        guard head.starts(with: "#!".utf8) else {
            return head.isEmpty
                ? "is empty" : "is neither a program nor a script: its first line must be as in #!/bin/bash"
        }
        let line = String(decoding: head.dropFirst(2).prefix(254).prefix { $0 != 10 }, as: UTF8.self)
        if line.hasSuffix("\r") || line.contains("\r") {
            return "has Windows line ends (CR LF); save it with LF, or set `* text eol=lf` in its .gitattributes"
        }
        var words = line.split(separator: " ").map(String.init)
        guard let interpreter = words.first, interpreter.hasPrefix("/") else {
            return "names no interpreter in its first line (#!\(Names.quoted(line)))"
        }
        guard isThere(interpreter) else {
            return "needs \(Names.quoted(interpreter)), which this stack does not have"
        }
        // `env` looks for the real one in PATH.
        guard interpreter.hasSuffix("/env") else { return nil }
        words.removeFirst()
        guard let name = words.first(where: { !$0.hasPrefix("-") && !$0.contains("=") }) else {
            return "names no interpreter in its first line (#!\(Names.quoted(line)))"
        }
        let found =
            name.contains("/") ? isThere(name) : path.split(separator: ":").contains { isThere("\($0)/\(name)") }
        return found ? nil : "needs \(Names.quoted(name)), which this stack does not have"
    }

    /// The same for a file.
    static func fault(file: String, path: String) throws(SystemError) -> String? {
        let handle = try OwnedFD.open(file, O_RDONLY | O_NONBLOCK)
        var info = stat()
        let raw = handle.raw
        try Syscall.check("fstat \(file)") { fstat(raw, &info) }
        guard info.st_mode & S_IFMT == S_IFREG else { return "is not a file" }
        return fault(head: try handle.readFully(256), path: path) { access($0, X_OK) == 0 }
    }
}
