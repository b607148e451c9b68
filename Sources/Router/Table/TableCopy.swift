import Domain
import FoundationEssentials
import OS
import Synchronization

/// The last good table on disk, for a start without paasd. Written by a thread of its own; of several tables that come
/// while it writes, the newest is written.
final class TableCopy: Sendable {
    /// What came of a write.
    enum Outcome: Sendable, Hashable {
        case written
        /// It could not be written, for this reason; no copy is left, so that a restart serves nothing outdated.
        case removed(String)
        /// It could not be written, and the outdated one could not be removed.
        case staleRemains(String)

        var problem: String? {
            switch self {
            case .written: nil
            case .removed(let reason), .staleRemains(let reason): reason
            }
        }
    }

    private struct State {
        var next: TableState?
        var isWriting = false
    }

    static let limit = 256 << 20

    let path: String
    private let state = Mutex(State())

    init(path: String) { self.path = path }

    /// Nil if there is none yet. Removes what a writer that was killed left behind.
    /// - Throws: if the file can't be read, or does not hold a table.
    func read() throws -> RoutingTable? {
        let folder = Files.parent(path)
        for name in try Files.list(folder) where (folder + "/" + name).hasPrefix(path + ".tmp.") {
            try Files.remove(folder + "/" + name)
        }
        guard let bytes = try Files.read(path, limit: Self.limit) else { return nil }
        return try JSONDecoder().decode(RoutingTable.self, from: Data(bytes))
    }

    /// Writes it soon. Calls `done` on the writer's thread; not for a table that a newer one overtook.
    func write(_ table: TableState, done: @escaping @Sendable (RoutingTable.Mark, Outcome) -> Void) {
        let start = state.withLock { state in
            state.next = table
            if state.isWriting { return false }
            state.isWriting = true
            return true
        }
        if start { Thread.start("table-copy") { self.work(done) } }
    }

    private func work(_ done: @Sendable (RoutingTable.Mark, Outcome) -> Void) {
        while true {
            let newest: TableState? = state.withLock { state in
                let newest = state.next
                state.next = nil
                if newest == nil { state.isWriting = false }
                return newest
            }
            guard let newest else { return }
            guard let table = newest.table else { continue }
            done(table.mark, writeNow(table))
        }
    }

    private func writeNow(_ table: RoutingTable) -> Outcome {
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            try Files.writeDurably(path, try encoder.encode(table))
            return .written
        } catch {
            // An outdated copy is worse than none: after a restart it would lead to instances that are gone.
            let reason = "\(error)"
            do { try Files.remove(path) } catch { return .staleRemains("\(reason); \(error)") }
            return .removed(reason)
        }
    }
}
