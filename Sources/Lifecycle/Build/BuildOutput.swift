import Glibc
import OS

/// The build's output as the pusher reads it: titles, body and warnings in the forms of the contract, without colours.
struct BuildOutput: Sendable {
    /// Where it goes; scripts write to a pipe that is copied to it.
    let descriptor: Int32

    init(descriptor: Int32 = STDOUT_FILENO) { self.descriptor = descriptor }

    /// `-----> Text`
    func title(_ text: String) { line("-----> ", text) }
    /// Seven spaces and the text.
    func body(_ text: String) { line("       ", text) }
    /// ` !     Text`
    func warn(_ text: String) { line(" !     ", text) }

    /// Bytes as they are. A reader that went away is no reason to end a build.
    func raw(_ bytes: ArraySlice<UInt8>) {
        var rest = bytes
        while !rest.isEmpty {
            let n = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if n < 0 && errno == EINTR { continue }
            if n <= 0 { return }
            rest = rest.dropFirst(n)
        }
    }

    private func line(_ mark: String, _ text: String) {
        var out = ""
        for part in text.split(separator: "\n", omittingEmptySubsequences: false) {
            out += mark + Printable.line(part) + "\n"
        }
        raw(ArraySlice(out.utf8))
    }
}

/// Foreign text in lines of our own.
enum Printable {
    /// Without control characters, which could move a terminal's cursor over other lines.
    static func line(_ text: some StringProtocol) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            out.unicodeScalars.append(
                scalar.properties.generalCategory == .control && scalar != "\t" ? "\u{FFFD}" : scalar)
        }
        return out
    }

    /// The last lines of what a program printed, for a message: at most `count`, each at most 300 characters.
    static func lastLines(_ bytes: [UInt8], count: Int) -> [String] {
        let text = String(decoding: bytes.suffix(64 << 10), as: UTF8.self)
        return text.split(whereSeparator: \.isNewline).suffix(count).map { String(line($0).prefix(300)) }
    }

    /// `2 GiB`, `12.3 MiB`, `512 B`.
    static func size(_ bytes: Int64) -> String {
        var value = Double(bytes)
        var unit = "B"
        for next in ["KiB", "MiB", "GiB", "TiB"] where value >= 1024 {
            value /= 1024
            unit = next
        }
        let tenths = Int64((value * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10) \(unit)" : "\(tenths / 10).\(tenths % 10) \(unit)"
    }
}
