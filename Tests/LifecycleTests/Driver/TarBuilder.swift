/// Makes tars of any entries, also such as no program would make.
struct TarBuilder {
    private(set) var bytes: [UInt8] = []

    mutating func add(
        _ path: String, _ type: Character = "0", target: String = "", content: [UInt8] = [], size: Int? = nil,
        mode: Int = 0o644
    ) {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, _ at: Int, _ limit: Int) {
            for (index, byte) in text.utf8.prefix(limit).enumerated() { block[at + index] = byte }
        }
        func octal(_ value: Int, _ digits: Int) -> String {
            let text = String(value, radix: 8)
            return String(repeating: "0", count: max(0, digits - text.count)) + text
        }
        put(path, 0, 100)
        put(octal(mode, 7), 100, 7)
        put(octal(0, 7), 108, 7)
        put(octal(0, 7), 116, 7)
        put(octal(size ?? content.count, 11), 124, 11)
        put(octal(0, 11), 136, 11)
        put(String(type), 156, 1)
        put(target, 157, 100)
        put("ustar", 257, 5)
        put("00", 263, 2)
        let sum = block.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 32 : Int($1.element)) }
        put(octal(sum, 6), 148, 6)
        block[155] = 32
        bytes += block + content
        bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
    }

    /// Extended attributes for the entry after them.
    mutating func extend(_ attributes: [(String, String)]) {
        var text: [UInt8] = []
        for (key, value) in attributes {
            let body = " \(key)=\(value)\n"
            var length = body.utf8.count + 1
            while String(length).utf8.count + body.utf8.count != length { length += 1 }
            text += "\(length)\(body)".utf8
        }
        add("PaxHeader", "x", content: text)
    }

    /// With its end.
    var finished: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }

    /// One of each kind.
    static var sample: TarBuilder {
        var tar = TarBuilder()
        tar.add("top/", "5", mode: 0o755)
        tar.add("top/a", content: Array("hello".utf8))
        tar.add("top/b", "2", target: "a")
        tar.add("top/c", "1", target: "top/a")
        tar.extend([("path", "top/" + String(repeating: "ü", count: 80)), ("size", "600")])
        tar.add("short", content: [UInt8](repeating: 7, count: 600), size: 0)
        tar.add("L", "L", content: Array(("top/" + String(repeating: "n", count: 150)).utf8) + [0])
        tar.add("cut", content: [1])
        return tar
    }
}
