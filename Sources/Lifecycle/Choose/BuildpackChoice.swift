import Domain

/// Which buildpacks build a source, and who said so. Pure.
enum BuildpackChoice: Sendable, Hashable {
    enum Origin: String, Sendable {
        case setting = "the app's list"
        case configVar = "BUILDPACK_URL"
        case manifest = "app.json"
        case file = ".buildpacks"
        case project = "project.toml"
    }

    /// In this order, each of them must match.
    case explicit([WantedBuildpack], Origin)
    /// The first that matches.
    case detection

    /// What can name buildpacks, each nil where it is not there.
    struct Inputs: Sendable, Hashable {
        var setting: String?
        var configVar: String?
        /// `app.json`, bytes.
        var manifest: [UInt8]?
        /// `.buildpacks`, bytes.
        var file: [UInt8]?
        /// `project.toml`, bytes.
        var project: [UInt8]?
    }

    /// The first of them that names any decides.
    init(_ inputs: Inputs, known: [String]) throws(BuildStop) {
        // A manifest that can't be read is told even where it does not decide: it would surprise later.
        let manifest = try inputs.manifest.map { bytes throws(BuildStop) in try BuildpackList.manifest(bytes) } ?? nil
        if let setting = inputs.setting {
            let names = try BuildpackList.setting(setting)
            if !names.isEmpty {
                self = try .list(names, .setting, known)
                return
            }
        }
        if let url = inputs.configVar, !url.isEmpty {
            self = try .list([url], .configVar, known)
        } else if let manifest {
            self = try .list(manifest, .manifest, known)
        } else if let bytes = inputs.file, case let names = try BuildpackList.file(bytes), !names.isEmpty {
            self = try .list(names, .file, known)
        } else if let bytes = inputs.project, case let list = try Self.project(bytes, known), !list.isEmpty {
            self = .explicit(list, .project)
        } else {
            self = .detection
        }
    }

    /// Who else names buildpacks, and others than the app's list, which decides.
    func ignored(_ inputs: Inputs, known: [String]) -> [Origin] {
        guard case .explicit(let own, .setting) = self else { return [] }
        // What can't be read names others too.
        func differs(_ list: () throws(BuildStop) -> [WantedBuildpack]) -> Bool {
            do throws(BuildStop) {
                let list = try list()
                return !list.isEmpty && list != own
            } catch { return true }
        }
        func wanted(_ names: [String]) throws(BuildStop) -> [WantedBuildpack] {
            try names.map { name throws(BuildStop) in try WantedBuildpack(name, known: known) }
        }
        var result: [Origin] = []
        if let url = inputs.configVar, !url.isEmpty, differs({ () throws(BuildStop) in try wanted([url]) }) {
            result.append(.configVar)
        }
        if let bytes = inputs.manifest,
            differs({ () throws(BuildStop) in try wanted(try BuildpackList.manifest(bytes) ?? []) })
        {
            result.append(.manifest)
        }
        if let bytes = inputs.file, differs({ () throws(BuildStop) in try wanted(try BuildpackList.file(bytes)) }) {
            result.append(.file)
        }
        if let bytes = inputs.project, differs({ () throws(BuildStop) in try Self.project(bytes, known) }) {
            result.append(.project)
        }
        return result
    }

    /// Addresses where it gives them: what has only an id beside them is one of what they lead to. Ids alone are names of ours.
    private static func project(_ bytes: [UInt8], _ known: [String]) throws(BuildStop) -> [WantedBuildpack] {
        let group: [ProjectDescriptor.Wanted]
        do throws(CNBFailure) { group = try ProjectDescriptor(bytes).group } catch { throw BuildStop(error) }
        let addresses = group.compactMap(\.uri)
        var list: [WantedBuildpack] = []
        for text in addresses.isEmpty ? group.map(\.id) : addresses {
            if !addresses.isEmpty, !text.contains(":"), !text.hasPrefix("/") {
                guard let names = GitModules.names(of: text.hasPrefix("./") ? String(text.dropFirst(2)) : text) else {
                    throw BuildStop(
                        .sourceUnusable,
                        "project.toml: the buildpack \(Names.quoted(text)) is no path in this source; write one without '..', or an address."
                    )
                }
                list.append(.inSource(names.joined(separator: "/")))
            } else {
                if case .explicit(let one, _) = try Self.list([text], .project, known) { list += one }
            }
        }
        return list
    }

    private static func list(_ names: [String], _ origin: Origin, _ known: [String]) throws(BuildStop)
        -> BuildpackChoice
    {
        var list: [WantedBuildpack] = []
        for name in names {
            do throws(BuildStop) {
                list.append(try WantedBuildpack(name, known: known))
            } catch {
                var stop = error
                if origin != .setting { stop.lines.append("It was named by \(origin.rawValue).") }
                throw stop
            }
        }
        return .explicit(list, origin)
    }
}

/// The order in which the platform's own buildpacks look at a source: the one place that knows it.
enum DetectionOrder {
    /// Which markers a buildpack looks for, as `PAAS_DETECT` tells it.
    enum Strength: String, Sendable { case strong, weak, any }

    static let order: [(name: String, strength: Strength)] = [
        ("swift", .any), ("go", .any), ("node", .any), ("java-jar", .any), ("ruby", .any), ("php", .any),
        ("native", .strong), ("python", .strong), ("python", .weak), ("native", .weak), ("static", .any),
        ("procfile", .any),
    ]

    /// Runs before the one that was found, not instead of it.
    static let auxiliary = "apt"
    /// Goes with every kind of program and says nothing about which one it is.
    static let last = "procfile"

    /// What matched, in the order of trying, each once.
    static func winner(of matches: [String]) -> (name: String, rivals: [String])? {
        var distinct: [String] = []
        for name in matches where !distinct.contains(name) && (name != last || distinct.isEmpty) {
            distinct.append(name)
        }
        return distinct.first.map { ($0, distinct.count > 1 ? distinct : []) }
    }
}
