import Domain
import FoundationEssentials
import Glibc
import OS

/// What is known of one namespace, written before anything of it exists and removed after all of it is gone.
struct NetworkRecord: Codable, Sendable, Hashable {
    enum Phase: Codable, Sendable, Hashable {
        /// Being made; after a crash it is thrown away.
        case making
        /// In the pool.
        case ready
        case attached(InstanceID)
        /// Given back. The namespace goes at once, its addresses only at `until` (seconds of the monotonic clock of this
        /// boot).
        case resting(until: Double, bootID: String)
    }

    /// The container id that CNI knows, and the name of the namespace's file.
    var name: String
    var networkIndex: Int
    var phase: Phase
    /// Known once it is `ready`.
    var attachment: NetworkAttachment?
    /// Its container was told to ask the forwarder. True for as long as the container lives: programs read `resolv.conf`
    /// when they start, and may go on with that.
    var usesForwarder: Bool?
}

/// The records on disk, one file each. They lie in the run directory: a reboot may take them, and everything they stand for.
struct NetworkRecords: Sendable {
    let folder: String

    func load() throws(PaaSError) -> [NetworkRecord] {
        let message = "the state of the containers' networks could not be read"
        let names = try NetworkTool.system(message) { () throws(SystemError) in try Files.list(folder) }
        var records: [NetworkRecord] = []
        for name in names {
            let path = "\(folder)/\(name)"
            guard name.hasSuffix(".json") else {
                // Left by a crash while writing; the record before it still stands.
                try NetworkTool.system(message) { () throws(SystemError) in try Files.remove(path) }
                continue
            }
            let bytes = try NetworkTool.system(message) { () throws(SystemError) in
                try Files.read(path, limit: 1 << 16)
            }
            guard let bytes else { continue }
            do {
                records.append(try JSONDecoder().decode(NetworkRecord.self, from: Data(bytes)))
            } catch {
                throw PaaSError(
                    .internal, "\(path) can't be read: stop the platform with bin/down, which removes it", cause: error)
            }
        }
        return records
    }

    /// All or nothing for readers; not made to outlive the power, as the folder isn't.
    func save(_ record: NetworkRecord) throws(PaaSError) {
        let bytes: Data
        do {
            bytes = try JSONEncoder().encode(record)
        } catch {
            throw PaaSError(.internal, "the state of a container's network could not be written", cause: error)
        }
        try NetworkTool.system("the state of a container's network could not be written") { () throws(SystemError) in
            let temporary = "\(folder)/\(record.name).tmp"
            let file = try OwnedFD.open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW)
            try file.writeAll(bytes)
            try Files.rename(temporary, "\(folder)/\(record.name).json")
        }
    }

    func remove(_ name: String) throws(PaaSError) {
        try NetworkTool.system("the state of a container's network could not be removed") { () throws(SystemError) in
            try Files.remove("\(folder)/\(name).json")
        }
    }
}
