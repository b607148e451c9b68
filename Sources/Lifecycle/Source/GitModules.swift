import Domain

/// What `.gitmodules` says about the folders that are commits of other repositories. Pure: from the list that
/// `git config --list -z` makes of the file.
struct GitModules: Sendable, Hashable {
    struct Module: Sendable, Hashable {
        var path: String
        var url: String?
        /// `none`: the repository itself says that it is not to be fetched.
        var update: String?
    }

    /// More can't be meant.
    static let maximumCount = 500

    var modules: [Module] = []

    /// - Parameter listed: entries `KEY\nVALUE`, each ended by a zero byte.
    init(listed: [UInt8]) {
        var byName: [String: Module] = [:]
        var order: [String] = []
        for entry in listed.split(separator: 0) {
            let parts = entry.split(separator: 10, maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            let key = String(decoding: parts[0], as: UTF8.self)
            let value = String(decoding: parts[1], as: UTF8.self)
            guard key.hasPrefix("submodule."), let dot = key.lastIndex(of: "."),
                let start = key.index(key.startIndex, offsetBy: "submodule.".count, limitedBy: dot), start < dot
            else { continue }
            let name = String(key[start..<dot])
            if byName[name] == nil {
                guard order.count < Self.maximumCount else { break }
                order.append(name)
            }
            var module = byName[name] ?? Module(path: "", url: nil, update: nil)
            switch key[key.index(after: dot)...] {
            case "path": module.path = value
            case "url": module.url = value
            case "update": module.update = value
            default: break
            }
            byName[name] = module
        }
        modules = order.compactMap { byName[$0] }.filter { !$0.path.isEmpty }
    }

    subscript(path: String) -> Module? { modules.last { $0.path == path } }

    /// Names of a path that may be written below the tree; nil for one that leads out of it or into git's own files.
    static func names(of path: String) -> [String]? {
        guard !path.hasPrefix("/"), path.utf8.count <= 4096 else { return nil }
        let names = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let isAllowed = names.allSatisfy { name in
            !name.isEmpty && name != "." && name != ".." && name.lowercased() != ".git" && name.utf8.count <= 255
        }
        return isAllowed ? names : nil
    }

    /// The address of a module; one that begins with `./` or `../` is relative to that of its parent.
    /// - Throws: `FetchURL.Fault`.
    static func address(_ url: String, of parent: FetchURL?) throws(FetchURL.Fault) -> FetchURL {
        guard url.hasPrefix("./") || url.hasPrefix("../") else {
            if url.hasPrefix("/") || url.lowercased().hasPrefix("file:") {
                throw .init(reason: "is a path of somebody's own machine")
            }
            return try FetchURL(url)
        }
        guard var base = parent else {
            throw .init(
                reason: "is relative, and a push does not say what to; write the whole address into .gitmodules")
        }
        var names = base.path.split(separator: "/").map(String.init)
        var rest = url[...]
        while true {
            if rest.hasPrefix("./") {
                rest = rest.dropFirst(2)
            } else if rest.hasPrefix("../") {
                guard !names.isEmpty else { throw .init(reason: "leads above its host") }
                names.removeLast()
                rest = rest.dropFirst(3)
            } else {
                break
            }
        }
        names += rest.split(separator: "/").map(String.init)
        guard !names.contains("..") else { throw .init(reason: "holds '..' in the middle") }
        base.path = (base.isShortSSH ? "" : "/") + names.joined(separator: "/")
        base.query = nil
        base.fragment = nil
        return base
    }
}
