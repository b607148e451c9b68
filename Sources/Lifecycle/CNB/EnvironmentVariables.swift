import Domain
import Glibc
import OS

/// Environment variables byte for byte: a value is any bytes but NUL, and need not be text.
struct EnvironmentVariables: Sendable, Hashable {
    private var values: [String: [UInt8]] = [:]
    /// Entries whose name is no text; handed on as they are.
    private var others: [[UInt8]] = []

    init() {}

    init(_ values: [String: String]) {
        self.values = values.mapValues { Array($0.utf8) }
    }

    /// - Parameter block: entries `NAME=value`. Of two with the same name the first one counts, as for `getenv`.
    init(block: [[UInt8]]) {
        for entry in block {
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")), equals > 0,
                let name = String(validating: entry[..<equals], as: UTF8.self)
            else {
                others.append(entry)
                continue
            }
            if values[name] == nil { values[name] = Array(entry[(equals + 1)...]) }
        }
    }

    /// Of this process.
    static func own() -> EnvironmentVariables {
        var block: [[UInt8]] = []
        var next = environ
        while let entry = next.pointee {
            block.append(UnsafeBufferPointer(start: entry, count: strlen(entry)).map { UInt8(bitPattern: $0) })
            next += 1
        }
        return EnvironmentVariables(block: block)
    }

    /// Empty and absent are not told apart, as the rules for layers want it. NUL ends a value.
    subscript(name: String) -> [UInt8] {
        get { values[name] ?? [] }
        set { values[name] = Array(newValue.prefix(while: { $0 != 0 })) }
    }

    /// Nil if it is not set.
    func text(_ name: String) -> String? { values[name].map { String(decoding: $0, as: UTF8.self) } }

    mutating func set(_ name: String, _ value: String) { self[name] = Array(value.utf8) }
    mutating func remove(_ name: String) { values[name] = nil }
    mutating func merge(_ more: [String: String]) { for (name, value) in more { set(name, value) } }

    /// For execve, sorted by name.
    var block: [[UInt8]] {
        values.sorted { $0.key < $1.key }.map { Array($0.key.utf8) + [UInt8(ascii: "=")] + $0.value } + others
    }

    /// Whether the kernel and shells take it for a variable's name.
    static func isName(_ name: String) -> Bool {
        guard let first = name.utf8.first, name.utf8.count <= 255 else { return false }
        return !(first >= 48 && first <= 57)
            && name.utf8.allSatisfy {
                ($0 >= 48 && $0 <= 57) || ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || $0 == 95
            }
    }
}
