/// Folders of the host that builds see, as the operator names them. Pure: what they are on the disk is checked by the engine
/// when it mounts them.
public enum BuildFolders {
    /// More would make the start of each build slow.
    public static let maximumCount = 32

    /// What a container has of its own: nothing else may be mounted there or below.
    private static let taken = [
        "app", "bin", "boot", "cache", "dev", "env", "etc", "layers", "lib", "lib32", "lib64", "paas", "proc", "result",
        "run", "sbin", "sys", "tmp", "usr", "workspace",
    ]

    /// A list of absolute folders separated by colons.
    /// - Parameter setting: its name, for the message.
    /// - Throws: `invalid` naming the folder that can't be used.
    static func parse(_ list: String, _ setting: String) throws(PaaSError) -> [String] {
        var folders: [String] = []
        for part in list.split(separator: ":") {
            let path = try clean(String(part), setting)
            let top = path.dropFirst().prefix { $0 != "/" }
            guard !taken.contains(String(top)), path != "/opt", !path.hasPrefix("/opt/swift/"), path != "/opt/swift"
            else {
                throw PaaSError(
                    .invalid,
                    "\(setting) names \(Names.quoted(path)), where a build has files of its own; use a folder elsewhere, as in /srv/buildpacks"
                )
            }
            if !folders.contains(path) { folders.append(path) }
        }
        guard folders.count <= maximumCount else {
            throw PaaSError(
                .invalid, "\(setting) names \(folders.count) folders; at most \(maximumCount) are possible")
        }
        return folders
    }

    /// The folder that holds a toolchain's `usr/`.
    /// - Throws: `invalid`.
    static func toolchain(_ path: String) throws(PaaSError) -> String {
        let path = try clean(path, "PAAS_SWIFT_TOOLCHAIN")
        guard !path.hasSuffix("/usr"), !path.hasSuffix("/usr/bin") else {
            throw PaaSError(.invalid, "PAAS_SWIFT_TOOLCHAIN must name the folder that holds usr/, not usr/ itself")
        }
        return path
    }

    private static func clean(_ given: String, _ setting: String) throws(PaaSError) -> String {
        var path = given
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard path.hasPrefix("/"), path.count > 1, path.utf8.count <= 1024,
            !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }),
            path.utf8.allSatisfy({ $0 > 32 && $0 != 127 && $0 != UInt8(ascii: ",") })
        else {
            throw PaaSError(
                .invalid,
                "\(setting) names \(Names.quoted(given)); it must be an absolute path other than /, without '.', '..', empty parts, spaces and ','"
            )
        }
        return path
    }
}
