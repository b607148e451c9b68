/// A pattern as in `.gitignore`, matched against paths of bytes. Time is bounded by the product of the lengths of pattern and
/// path, so that no pattern can hold up a build.
struct GlobPattern: Sendable, Hashable {
    enum Token: Sendable, Hashable {
        case byte(UInt8)
        /// `?`: one byte of a name.
        case one
        /// `*`: any bytes of a name.
        case any
        /// `[…]`
        case set([ClosedRange<UInt8>], negated: Bool)
    }

    enum Segment: Sendable, Hashable {
        case name([Token])
        /// `**`: any number of folders, also none.
        case folders
    }

    let segments: [Segment]
    /// Only folders match: the pattern ended with `/`.
    let foldersOnly: Bool

    /// - Returns: nil for a pattern that can match nothing: no name in it, or a `[` or `\` without its end.
    init?(_ text: [UInt8]) {
        var text = text[...]
        foldersOnly = text.last == UInt8(ascii: "/")
        if foldersOnly { text.removeLast() }
        // With a slash in it, it begins at the root; else it is a name in any folder.
        let isAnchored = text.contains(UInt8(ascii: "/"))
        if text.first == UInt8(ascii: "/") { text.removeFirst() }
        guard !text.isEmpty else { return nil }
        var list: [Segment] = isAnchored ? [] : [.folders]
        for part in text.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            if part.elementsEqual("**".utf8) {
                if list.last != .folders { list.append(.folders) }
            } else if let tokens = Self.tokens(part), !tokens.isEmpty {
                list.append(.name(tokens))
            } else {
                return nil
            }
        }
        // `a/**` is all that is in a, and not a itself.
        if list.last == .folders { list.append(.name([.any])) }
        segments = list
    }

    private static func tokens(_ part: ArraySlice<UInt8>) -> [Token]? {
        var out: [Token] = []
        var rest = part
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "?"): out.append(.one)
            case UInt8(ascii: "*"): if out.last != .any { out.append(.any) }
            case UInt8(ascii: "\\"):
                guard let next = rest.popFirst() else { return nil }
                out.append(.byte(next))
            case UInt8(ascii: "["):
                guard let set = set(&rest) else { return nil }
                out.append(set)
            default: out.append(.byte(byte))
            }
        }
        return out
    }

    /// What stands between `[` and `]`.
    private static func set(_ rest: inout ArraySlice<UInt8>) -> Token? {
        var negated = false
        if rest.first == UInt8(ascii: "!") || rest.first == UInt8(ascii: "^") {
            negated = true
            rest.removeFirst()
        }
        var ranges: [ClosedRange<UInt8>] = []
        var isFirst = true
        while var byte = rest.popFirst() {
            if byte == UInt8(ascii: "]") && !isFirst { return .set(ranges, negated: negated) }
            isFirst = false
            if byte == UInt8(ascii: "\\") {
                guard let next = rest.popFirst() else { return nil }
                byte = next
            }
            guard rest.first == UInt8(ascii: "-"), let end = rest.dropFirst().first, end != UInt8(ascii: "]") else {
                ranges.append(byte...byte)
                continue
            }
            rest.removeFirst(2)
            var last = end
            if last == UInt8(ascii: "\\") {
                guard let next = rest.popFirst() else { return nil }
                last = next
            }
            if byte <= last { ranges.append(byte...last) }
        }
        return nil
    }

    /// - Parameter path: names from the root of the tree on.
    func matches(_ path: [[UInt8]], isFolder: Bool) -> Bool {
        if foldersOnly && !isFolder { return false }
        // As with `*` in a name: the last `**` takes one folder more when what follows does not match.
        var segment = 0
        var name = 0
        var retry: (segment: Int, name: Int)?
        while name < path.count {
            if segment < segments.count {
                switch segments[segment] {
                case .folders:
                    retry = (segment + 1, name)
                    segment += 1
                    continue
                case .name(let tokens):
                    if Self.matches(tokens, path[name]) {
                        segment += 1
                        name += 1
                        continue
                    }
                }
            }
            guard let again = retry else { return false }
            retry = (again.segment, again.name + 1)
            segment = again.segment
            name = again.name + 1
        }
        return segment == segments.count
    }

    private static func matches(_ tokens: [Token], _ name: [UInt8]) -> Bool {
        var token = 0
        var index = 0
        var retry: (token: Int, index: Int)?
        while index < name.count {
            if token < tokens.count {
                if tokens[token] == .any {
                    retry = (token + 1, index)
                    token += 1
                    continue
                }
                if matches(tokens[token], name[index]) {
                    token += 1
                    index += 1
                    continue
                }
            }
            guard let again = retry else { return false }
            retry = (again.token, again.index + 1)
            token = again.token
            index = again.index + 1
        }
        while token < tokens.count, tokens[token] == .any { token += 1 }
        return token == tokens.count
    }

    private static func matches(_ token: Token, _ byte: UInt8) -> Bool {
        switch token {
        case .byte(let wanted): wanted == byte
        case .one, .any: true
        case .set(let ranges, let negated): ranges.contains { $0.contains(byte) } != negated
        }
    }
}
