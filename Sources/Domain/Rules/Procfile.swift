/// A parsed `Procfile`: process type to command. The colon is required; a duplicate type is an error.
public struct Procfile: Sendable, Hashable {
    public static let maximumBytes = 64 << 10

    public struct Entry: Sendable, Hashable {
        public var type: String
        public var command: String
        public init(type: String, command: String) {
            self.type = type
            self.command = command
        }
    }

    /// In the order of the file.
    public var entries: [Entry]

    public var commands: [String: String] {
        Dictionary(uniqueKeysWithValues: entries.map { ($0.type, $0.command) })
    }

    /// - Throws: `appFailed` naming the line and what to write instead.
    public init(_ bytes: [UInt8]) throws(PaaSError) {
        func fail(_ line: Int, _ what: String) -> PaaSError { PaaSError(.appFailed, "Procfile line \(line): \(what)") }
        guard bytes.count <= Self.maximumBytes else {
            throw PaaSError(.appFailed, "Procfile is larger than \(Self.maximumBytes / 1024) KiB")
        }
        var content = bytes[...]
        if content.starts(with: [0xEF, 0xBB, 0xBF]) { content = content.dropFirst(3) }
        if content.starts(with: [0xFF, 0xFE]) || content.starts(with: [0xFE, 0xFF]) {
            throw PaaSError(.appFailed, "Procfile is UTF-16; save it as UTF-8")
        }
        guard let text = String(validating: content, as: UTF8.self) else {
            throw PaaSError(.appFailed, "Procfile is not valid UTF-8")
        }
        entries = []
        var seen: [String: Int] = [:]
        var number = 0
        for raw in text.split(omittingEmptySubsequences: false, whereSeparator: { $0 == "\n" || $0 == "\r\n" }) {
            number += 1
            let line = raw.trimmingWhitespace()
            if line.isEmpty || line.hasPrefix("#") { continue }
            if line.hasPrefix("<<<<<<<") || line.hasPrefix("=======") || line.hasPrefix(">>>>>>>") {
                throw fail(number, "this is the mark of an unresolved merge conflict; resolve it and push again")
            }
            guard !line.unicodeScalars.contains("\0") else {
                throw fail(number, "a NUL byte can't be part of a command")
            }
            guard let colon = line.firstIndex(of: ":") else {
                throw fail(number, "expected 'type: command', found \(Names.quoted(line)) (the colon is required)")
            }
            let type = String(line[..<colon].trimmingWhitespace())
            do throws(PaaSError) {
                try Names.validateShort(type, "process type")
            } catch {
                throw fail(number, error.message)
            }
            let command = String(line[line.index(after: colon)...].trimmingWhitespace())
            guard !command.isEmpty else { throw fail(number, "process type \(type) has no command") }
            if let first = seen.updateValue(number, forKey: type) {
                throw fail(number, "process type \(type) is declared twice, first on line \(first)")
            }
            entries.append(Entry(type: type, command: command))
        }
        guard !entries.isEmpty else {
            throw PaaSError(
                .appFailed, "Procfile declares no process type; write a line such as 'web: ./server --port $PORT'")
        }
    }
}
