import Domain
import Glibc

/// Where the program writes: data on standard output, messages and progress on standard error.
enum Console {
    static let outputIsTerminal = isatty(STDOUT_FILENO) == 1
    static let errorIsTerminal = isatty(STDERR_FILENO) == 1

    /// One line of data.
    static func print(_ line: String) { write(Array(line.utf8) + [10], to: STDOUT_FILENO) }
    /// Data as it is.
    static func print(bytes: [UInt8]) { write(bytes, to: STDOUT_FILENO) }
    static func print(json: JSONValue) { write(json.prettyEncoded() + [10], to: STDOUT_FILENO) }
    /// One line of JSON, for endless output.
    static func print(jsonLine json: JSONValue) { write(json.encoded() + [10], to: STDOUT_FILENO) }

    /// A message for the user, which may have several lines and quote what came from elsewhere.
    static func note(_ text: String) {
        let shown = errorIsTerminal ? withoutControls(text, keepingLines: true) : text
        write(Array(shown.utf8) + [10], to: STDERR_FILENO)
    }

    /// Text that came from elsewhere, without what could steer a terminal.
    static func safe(_ text: String) -> String { outputIsTerminal ? withoutControls(text) : text }

    /// Colours (`ESC [ 1 ; 31 m`) of a program's own output go through. Everything else that a terminal obeys could rewrite
    /// the screen, the title or the clipboard, or type for the user.
    static func withoutControls(_ text: String, keepingLines: Bool = false) -> String {
        var out = String.UnicodeScalarView()
        var rest = text.unicodeScalars[...]
        while let scalar = rest.first {
            if let colour = colour(rest) {
                out += colour
                rest = rest[colour.endIndex...]
                continue
            }
            let isControl = scalar.value < 32 || (127..<160).contains(scalar.value)
            let isKept = scalar == "\t" || (keepingLines && scalar == "\n")
            out.append(isControl && !isKept ? "\u{FFFD}" : scalar)
            rest.removeFirst()
        }
        return String(out)
    }

    /// The sequence that sets a colour, if `text` begins with one.
    private static func colour(_ text: Substring.UnicodeScalarView) -> Substring.UnicodeScalarView? {
        guard text.first == "\u{1B}", text.dropFirst().first == "[" else { return nil }
        let numbers = text.dropFirst(2).prefix { ("0"..."9").contains($0) || $0 == ";" }
        guard numbers.endIndex < text.endIndex, text[numbers.endIndex] == "m" else { return nil }
        return text[...numbers.endIndex]
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                // The reader has left (`paasctl logs | head`): there is nobody to tell and nothing left to do.
                if errno == EPIPE { exit(descriptor == STDOUT_FILENO ? 0 : 1) }
                exit(1)
            }
            offset += count
        }
    }

    /// Columns, each as wide as its widest cell; the last one is not padded.
    static func table(_ header: [String], _ rows: [[String]]) {
        var widths = header.map(\.count)
        for row in rows {
            for (index, cell) in row.enumerated() where index < widths.count {
                widths[index] = max(widths[index], cell.count)
            }
        }
        for row in [header] + rows {
            var line = ""
            for (index, cell) in row.enumerated() {
                line +=
                    index == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count + 2)
            }
            print(safe(line))
        }
    }
}
