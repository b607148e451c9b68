import Crypto
import Domain
import Glibc
import OS

/// What a stack is made from: `<definitions>/build`, `hooks` and the folder of the stack's name.
struct StackDefinition {
    /// The folder that holds all definitions.
    let folder: String
    let name: String
    let reach: OutsideReach

    /// SHA-256 over names, whether they can be executed, contents, and the archive that the settings name: equal stamps, equal definitions. What a hook takes from
    /// the host or the archive is not in it.
    func stamp() throws(PaaSError) -> String {
        try ImageFailure.wrap("can't read the definition of the stack \(name)") { () throws(SystemError) in
            var hash = SHA256()
            var waiting = ["build", "hooks", name]
            while !waiting.isEmpty {
                let path = waiting.removeFirst()
                var info = stat()
                if path == "hooks", !Files.exists("\(folder)/\(path)") { continue }
                try Syscall.check("stat \(path)") { stat("\(folder)/\(path)", &info) }
                if info.st_mode & S_IFMT == S_IFDIR {
                    waiting += try Files.list("\(folder)/\(path)").sorted().map { "\(path)/\($0)" }
                    continue
                }
                let content = try Files.read("\(folder)/\(path)") ?? []
                let head = "\(path)\0\(info.st_mode & 0o100 != 0 ? "x" : "-")\0\(content.count)\0"
                hash.update(data: Array(head.utf8))
                hash.update(data: content)
            }
            // Images name the archive that builds install from.
            for mirror in [reach.aptMirror, reach.aptSecurityMirror] {
                hash.update(data: Array("\(mirror ?? "")\0".utf8))
            }
            return SlugStore.hex(hash.finalize())
        }
    }
}
