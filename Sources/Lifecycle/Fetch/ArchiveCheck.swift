import Domain

/// Whether a foreign archive may be unpacked, judged entry by entry before a byte of it is written. Pure.
struct ArchiveCheck: Sendable {
    struct Limits: Sendable {
        /// Of all files together, unpacked.
        var bytes: Int64
        var entries: Int
        /// Unpacked bytes for each byte of the archive, once more than 64 MiB are unpacked.
        var ratio: Int64 = 200
    }

    /// Why it may not be unpacked, as the end of a sentence that names the archive.
    struct Refusal: Error, Sendable, Hashable {
        var reason: String
        /// It is only too large.
        var isSize = false
    }

    private let limits: Limits
    private let archiveBytes: Int64
    private var bytes: Int64 = 0
    private var entries = 0
    private var kinds: [[UInt8]: TarReader.Kind] = [:]
    private var links: [[UInt8]: [UInt8]] = [:]
    private var top: Set<[UInt8]> = []
    /// Something beside folders lies at the root.
    private var hasRootFile = false

    /// - Parameter archiveBytes: size of the archive as it was fetched.
    init(limits: Limits, archiveBytes: Int64) {
        self.limits = limits
        self.archiveBytes = archiveBytes
    }

    mutating func take(_ entry: TarReader.Entry) throws(Refusal) {
        entries += 1
        guard entries <= limits.entries else {
            throw Refusal(reason: "holds more than \(limits.entries) entries", isSize: true)
        }
        let path = try Self.clean(entry.path)
        let shown = Self.shown(entry.path)
        switch entry.kind {
        case .device: throw Refusal(reason: "holds the device \(shown)")
        case .fifo: throw Refusal(reason: "holds the named pipe \(shown)")
        case .other: throw Refusal(reason: "holds \(shown), which is neither a file, a folder nor a link")
        case .file, .hardLink, .link, .folder: break
        }
        let (sum, overflow) = bytes.addingReportingOverflow(entry.size)
        guard !overflow, sum <= limits.bytes else {
            throw Refusal(reason: "unpacks to more than \(Printable.size(limits.bytes))", isSize: true)
        }
        bytes = sum
        if bytes > 64 << 20, bytes / max(archiveBytes, 1) >= limits.ratio {
            throw Refusal(reason: "unpacks to more than \(limits.ratio) times its own size", isSize: true)
        }
        // `./` itself.
        guard !path.isEmpty else { return }
        // Nothing may be written through a link that the archive itself brought.
        for count in 1..<max(path.count, 1) {
            switch kinds[Self.joined(path.prefix(count))] {
            case .none, .folder: kinds[Self.joined(path.prefix(count))] = .folder
            default: throw Refusal(reason: "holds \(shown), whose folder is a link or a file of the same archive")
            }
        }
        let key = Self.joined(path[...])
        if let before = kinds[key], before != entry.kind || entry.kind == .link {
            throw Refusal(reason: "holds \(shown) twice, as different things")
        }
        kinds[key] = entry.kind
        top.insert(path[0])
        if path.count == 1 && entry.kind != .folder { hasRootFile = true }
        switch entry.kind {
        case .link:
            guard !entry.target.isEmpty, entry.target.first != UInt8(ascii: "/") else {
                throw Refusal(reason: "holds the link \(shown) to \(Self.shown(entry.target)), outside of its tree")
            }
            links[key] = entry.target
        case .hardLink:
            let target = Self.joined(try Self.clean(entry.target)[...])
            guard kinds[target] == .file || (kinds[target] == .hardLink && target != key) else {
                throw Refusal(
                    reason:
                        "holds the hard link \(shown) to \(Self.shown(entry.target)), which is no file of the archive before it"
                )
            }
        default: break
        }
    }

    /// Whether all is in one folder, as the archives of forges are; that folder is left out.
    var hasOneTopFolder: Bool { topFolder != nil }
    /// Its name.
    var topFolder: String? {
        top.count == 1 && !hasRootFile ? top.first.map { String(decoding: $0, as: UTF8.self) } : nil
    }
    var isEmpty: Bool { kinds.isEmpty }

    /// To be called after the last entry: only now it is known where links lead.
    func finish() throws(Refusal) {
        guard !isEmpty else { throw Refusal(reason: "holds nothing") }
        let strip = hasOneTopFolder ? 1 : 0
        for key in links.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            guard staysInside(key, strip: strip) else {
                throw Refusal(
                    reason: "holds the link \(Self.shown(key)) to \(Self.shown(links[key] ?? [])), outside of its tree")
            }
        }
    }

    /// Follows a link as the kernel would. One that leads nowhere or round in circles stays inside.
    private func staysInside(_ key: [UInt8], strip: Int) -> Bool {
        var place: [[UInt8]] = []
        var todo = key.split(separator: UInt8(ascii: "/")).map(Array.init)
        var hops = 0
        while !todo.isEmpty {
            let name = todo.removeFirst()
            if name == [46] { continue }
            if name == [46, 46] {
                guard place.count > strip else { return false }
                place.removeLast()
                continue
            }
            place.append(name)
            guard let target = links[Self.joined(place[...])] else { continue }
            hops += 1
            // The kernel gives up as well.
            if hops > 40 { return true }
            place.removeLast()
            todo = target.split(separator: UInt8(ascii: "/")).map(Array.init) + todo
        }
        return true
    }

    /// The names in a path, without `.`.
    private static func clean(_ path: [UInt8]) throws(Refusal) -> [[UInt8]] {
        guard !path.isEmpty else { throw Refusal(reason: "holds an entry without a name") }
        guard path.first != UInt8(ascii: "/") else { throw Refusal(reason: "holds the absolute path \(shown(path))") }
        let names = path.split(separator: UInt8(ascii: "/")).map(Array.init).filter { $0 != [46] }
        guard !names.contains([46, 46]) else { throw Refusal(reason: "holds the path \(shown(path)) with '..'") }
        guard path.count <= 4096, names.allSatisfy({ $0.count <= 255 && !$0.contains(0) }) else {
            throw Refusal(reason: "holds a path that is too long: \(shown(path))")
        }
        return names
    }

    private static func joined(_ names: ArraySlice<[UInt8]>) -> [UInt8] {
        Array(names.joined(separator: [UInt8(ascii: "/")]))
    }

    private static func shown(_ path: [UInt8]) -> String { Names.quoted(String(decoding: path, as: UTF8.self)) }
}
