import Glibc
import OS

/// Moves a tree's contents, also from one mount to another.
enum FolderMove {
    /// `target` is there. Links stay links, several names of one file stay so, modes and times are kept.
    /// - Parameter move: of one entry, as `rename`.
    /// - Returns: paths of sockets, pipes and devices, which can't be copied to another mount and are left out.
    static func contents(
        of source: String, to target: String,
        move: (UnsafePointer<CChar>, UnsafePointer<CChar>) -> Int32 = { rename($0, $1) }
    ) throws(BuildStop) -> [String] {
        let from = RawPath(source)
        let to = RawPath(target)
        return try stopping { () throws(SystemError) in
            var rest: [[CChar]] = []
            for name in try from.names() where move(from.appending(name).bytes, to.appending(name).bytes) != 0 {
                // Another mount; or a folder that even its owner may not write, whose `..` can't be changed.
                guard [EXDEV, EACCES, EPERM].contains(errno) else {
                    throw .last("move \(from.appending(name).text)")
                }
                rest.append(name)
            }
            var copier = TreeCopier()
            for name in rest { try copier.copy(from.appending(name), to.appending(name)) }
            for name in rest { try LayerTree.remove(from.appending(name)) }
            return copier.skipped
        }
    }
}
