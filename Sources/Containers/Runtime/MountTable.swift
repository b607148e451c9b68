import OS

/// `/proc/self/mountinfo`.
enum MountTable {
    /// Mount points at or below `path`, in the order of mounting.
    static func points(under path: String) throws(SystemError) -> [String] {
        guard let bytes = try Files.read("/proc/self/mountinfo") else { return [] }
        return parse(bytes).filter { $0 == path || $0.hasPrefix(path + "/") }
    }

    static func parse(_ bytes: [UInt8]) -> [String] {
        bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let fields = line.split(separator: 32)
            return fields.count > 4 ? unescape(fields[4]) : nil
        }
    }

    /// Space, tab, newline and backslash are written as three octal digits.
    private static func unescape(_ field: ArraySlice<UInt8>) -> String {
        let bytes = Array(field)
        var out: [UInt8] = []
        var i = 0
        while i < bytes.count {
            let digits = bytes[min(i + 1, bytes.count)..<min(i + 4, bytes.count)]
            if bytes[i] == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (48...55).contains($0) }) {
                out.append(digits.reduce(0) { $0 << 3 | ($1 - 48) })
                i += 4
            } else {
                out.append(bytes[i])
                i += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
