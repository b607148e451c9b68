import Domain
import OS
import Synchronization

/// The repositories' lists of shallow commits, and which entries pushes under way rely on: git looks at them until it has
/// found that what was pushed is whole.
final class ShallowLists: Sendable {
    private struct State {
        var next = 0
        var entries: [Int: (app: AppID, commits: Set<String>)] = [:]

        func reliedOn(_ app: AppID) -> Set<String> {
            entries.values.reduce(into: []) { if $1.app == app { $0.formUnion($1.commits) } }
        }
    }

    // Held while a list is changed: no push may come to rely on what another one takes away.
    private let state = Mutex(State())

    /// Puts commits on the list. They stay until `settle` is called with what this returns.
    func add(_ commits: [String], _ app: AppID, _ file: ShallowFile) throws(SystemError) -> Int {
        try locked { state throws(SystemError) in
            try file.add(commits)
            state.next += 1
            state.entries[state.next] = (app, Set(commits))
            return state.next
        }
    }

    func settle(_ push: Int) { state.withLock { $0.entries[push] = nil } }

    /// The entries that no push relies on.
    func idle(_ app: AppID, _ file: ShallowFile) throws(SystemError) -> [String] {
        try locked { state throws(SystemError) in
            let kept = state.reliedOn(app)
            return try file.read().filter { !kept.contains($0) }
        }
    }

    /// Takes commits off the list, but for those that a push relies on by now.
    func remove(_ commits: [String], _ app: AppID, _ file: ShallowFile) throws(SystemError) {
        try locked { state throws(SystemError) in
            let going = Set(commits).subtracting(state.reliedOn(app))
            if !going.isEmpty { try file.remove(Array(going)) }
        }
    }

    private func locked<T: Sendable>(_ body: (inout State) throws(SystemError) -> T) throws(SystemError) -> T {
        let result: Result<T, SystemError> = state.withLock { state in
            do throws(SystemError) { return .success(try body(&state)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
