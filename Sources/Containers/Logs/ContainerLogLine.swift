import Domain

/// One line of conmon's `k8s-file` format: `TIME stdout|stderr F|P TEXT`.
struct ContainerLogLine: Sendable, Hashable {
    var time: Timestamp
    /// Nanoseconds since 1970, as written.
    var nanoseconds: Int64
    var isPartial: Bool
    /// From standard error.
    var isError: Bool
    var text: ArraySlice<UInt8>

    /// Nil for what is no such line: a write that was cut off, for instance.
    init?(_ line: ArraySlice<UInt8>) {
        guard let firstSpace = line.prefix(40).firstIndex(of: 32),
            let nanoseconds = Self.parseTime(line[..<firstSpace])
        else { return nil }
        let rest = line[(firstSpace + 1)...]
        guard rest.starts(with: "stdout ".utf8) || rest.starts(with: "stderr ".utf8), rest.count >= 9 else {
            return nil
        }
        isError = rest.starts(with: "stderr ".utf8)
        let tag = rest[rest.startIndex + 7]
        guard tag == UInt8(ascii: "F") || tag == UInt8(ascii: "P"), rest[rest.startIndex + 8] == 32 else { return nil }
        self.nanoseconds = nanoseconds
        time = Timestamp(microseconds: nanoseconds / 1000)
        isPartial = tag == UInt8(ascii: "P")
        text = rest[(rest.startIndex + 9)...]
    }

    func logLine(source: LogLine.Source, process: String) -> LogLine {
        // A NUL can't be stored or shown by what comes after us.
        let text = String(decoding: text.map { $0 == 0 ? UInt8(ascii: "?") : $0 }, as: UTF8.self)
        return LogLine(time: time, source: source, process: process, text: text, partial: isPartial)
    }

    /// `2026-11-22T11:35:17.804617315+00:00`, with any offset or `Z`, as nanoseconds since 1970.
    static func parseTime(_ bytes: ArraySlice<UInt8>) -> Int64? {
        guard bytes.count >= 20, bytes.count <= 40 else { return nil }
        let b = Array(bytes)
        var end = 19
        var fraction: Int64 = 0
        if b[end] == UInt8(ascii: ".") {
            end += 1
            var digits = 0
            while end < b.count, (48...57).contains(b[end]) {
                if digits < 9 { fraction = fraction * 10 + Int64(b[end] - 48) }
                digits += 1
                end += 1
            }
            guard digits > 0 else { return nil }
            for _ in min(digits, 9)..<9 { fraction *= 10 }
        }
        guard end < b.count, let seconds = Timestamp(String(decoding: b[..<19], as: UTF8.self) + "Z") else {
            return nil
        }
        let zone = b[end...]
        var offset: Int64 = 0
        if !zone.elementsEqual("Z".utf8) {
            guard zone.count == 6, zone.first == UInt8(ascii: "+") || zone.first == UInt8(ascii: "-"),
                zone[end + 3] == UInt8(ascii: ":"),
                let hours = Int64(String(decoding: zone[(end + 1)..<(end + 3)], as: UTF8.self)),
                let minutes = Int64(String(decoding: zone[(end + 4)...], as: UTF8.self)), (0...23).contains(hours),
                (0...59).contains(minutes)
            else { return nil }
            offset = (hours * 60 + minutes) * (zone.first == UInt8(ascii: "-") ? -60 : 60)
        }
        return (seconds.microseconds / 1_000_000 - offset) * 1_000_000_000 + fraction
    }

    /// As conmon writes it.
    static func format(_ time: Timestamp, _ text: String) -> [UInt8] {
        let clean = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return Array("\(String(time.description.dropLast()))000+00:00 stdout F \(clean)\n".utf8)
    }
}
