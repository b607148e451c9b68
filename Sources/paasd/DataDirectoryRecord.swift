import Domain
import OS

/// What the data directory remembers of its database: which one it is, and the newest epoch. Without it another database, or
/// one restored from an older backup, would be taken for the truth about repositories and slugs that it does not know, and its
/// low epoch would be refused by the engine for ever.
struct DataDirectoryRecord {
    /// Of paasd alone.
    let directory: String

    private var platformFile: String { directory + "/platform-id" }
    private var epochFile: String { directory + "/epoch" }

    /// Nil and 0 before the first start.
    func read() throws -> (platformID: String?, epoch: Int64) {
        let platform = try Files.readText(platformFile, limit: 1024)
        guard let text = try Files.readText(epochFile, limit: 1024) else { return (platform, 0) }
        guard let epoch = Int64(text), epoch >= 0 else {
            throw PaaSError(.invalid, "\(epochFile) is damaged: it must hold a number; remove it and start again")
        }
        return (platform, epoch)
    }

    /// Durable before anything is done in this epoch.
    func write(platformID: String, epoch: Int64) throws {
        try Files.writeDurably(platformFile, Array("\(platformID)\n".utf8))
        try Files.writeDurably(epochFile, Array("\(epoch)\n".utf8))
    }

    /// `error` of a start with `platformID`, with what the operator can do about another database.
    func explained(_ error: PaaSError, platformID: String?) -> PaaSError {
        guard let platformID, error.code == .invalid, error.message.contains(platformID) else { return error }
        var explained = error
        explained.message +=
            "; to keep both, remove \(platformFile): repositories that this database does not know are then set aside for 30 days, slugs and logs are removed"
        return explained
    }
}
