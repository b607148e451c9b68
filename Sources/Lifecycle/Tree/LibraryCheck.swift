import Glibc
import OS

/// Finds shared libraries that a slug's programs name and that its processes will not find: they are neither in the slug nor in
/// the image that runs it.
struct LibraryCheck: Sendable {
    struct Missing: Sendable, Hashable {
        var library: String
        /// One file of the slug that names it.
        var user: String
        /// The package of the build image that has it; nil: none has.
        var package: String?
    }

    /// More would hide what else the build said.
    static let maximumCount = 10
    private static let maximumFiles = 50_000

    /// dpkg's status file of the run image.
    let runPackages: String
    /// dpkg's folder with the lists of files of this image's packages.
    let packageLists: String

    /// Empty where the stack does not say what the run image has.
    func missing(in slug: String) throws(SystemError) -> [Missing] {
        guard let status = try Files.read(runPackages) else { return [] }
        var users: [String: String] = [:]
        var own: Set<String> = []
        var looked = 0
        try FolderWalk.visit(slug, skipsUnreadable: true) { entry throws(SystemError) in
            let name = String(decoding: entry.path.last ?? [], as: UTF8.self)
            let isLibrary = name.range(of: ".so") != nil
            if isLibrary { own.insert(name) }
            guard entry.kind == .file, isLibrary || entry.info.st_mode & 0o111 != 0, entry.info.st_size > 64,
                looked < Self.maximumFiles
            else { return .descend }
            looked += 1
            for library in try entry.libraries() ?? [] where users[library] == nil { users[library] = entry.text }
            return .descend
        }
        let wanted = Set(users.keys).subtracting(own).filter { !$0.contains("/") }
        guard !wanted.isEmpty else { return [] }
        let installed = Self.installed(status)
        var owners: [String: Set<String>] = [:]
        for file in try Files.list(packageLists) where file.hasSuffix(".list") {
            let package = String(file.dropLast(".list".count).prefix { $0 != ":" })
            guard let list = try Files.read("\(packageLists)/\(file)") else { continue }
            for library in Self.names(in: list, wanted) { owners[library, default: []].insert(package) }
        }
        var result: [Missing] = []
        for library in wanted.sorted() where result.count < Self.maximumCount {
            let packages = owners[library] ?? []
            if !packages.isDisjoint(with: installed) || packages.isEmpty && Self.isAlternative(library) { continue }
            result.append(Missing(library: library, user: users[library] ?? "", package: packages.min()))
        }
        return result
    }

    /// Names of the packages that a status file calls installed.
    static func installed(_ status: [UInt8]) -> Set<String> {
        var names: Set<String> = []
        var name: String?
        for line in status.split(separator: 10, omittingEmptySubsequences: false) {
            if line.isEmpty { name = nil }
            if line.starts(with: "Package: ".utf8) {
                name = String(decoding: line.dropFirst("Package: ".utf8.count), as: UTF8.self)
            }
            if line.starts(with: "Status: ".utf8), line.suffix(10).elementsEqual(" installed".utf8), let name {
                names.insert(name)
            }
        }
        return names
    }

    /// Which of `wanted` a list of files has below a folder for libraries.
    private static func names(in list: [UInt8], _ wanted: Set<String>) -> [String] {
        list.split(separator: 10).compactMap { line in
            guard let slash = line.lastIndex(of: UInt8(ascii: "/")) else { return nil }
            let base = line[(slash + 1)...]
            // Most files are no libraries; that is told before a text is made of each.
            guard base.starts(with: "lib".utf8) || base.starts(with: "ld".utf8) || line.count < 64 else { return nil }
            let name = String(decoding: base, as: UTF8.self)
            guard wanted.contains(name) else { return nil }
            let folder = line[..<slash]
            return folder.starts(with: "/lib".utf8) || folder.starts(with: "/usr/lib".utf8) ? name : nil
        }
    }

    /// A link that the system chose, as for BLAS: no package's list has it.
    private static func isAlternative(_ library: String) -> Bool {
        Files.exists("/etc/alternatives/\(library)-x86_64-linux-gnu")
            || Files.exists("/etc/alternatives/\(library)-aarch64-linux-gnu")
    }
}

extension FolderWalk.Entry {
    /// What the file names as its shared libraries; nil if it is no ELF file.
    fileprivate func libraries() throws(SystemError) -> [String]? {
        let file: OwnedFD
        do throws(SystemError) { file = try open() } catch {
            // A file that even its owner may not read is nobody's program.
            if error.errno == EACCES { return nil }
            throw error
        }
        let raw = file.raw
        return ELFFile.needed { offset, count in
            guard let place = off_t(exactly: offset) else { return [] }
            var bytes = [UInt8](repeating: 0, count: count)
            let n = pread(raw, &bytes, count, place)
            return n > 0 ? Array(bytes.prefix(n)) : []
        }
    }
}
