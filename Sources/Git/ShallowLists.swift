import Domain
import OS
import Synchronization

/// The repositories' lists of shallow commits, and which entries pushes under way rely on: git looks at them until it has
/// found that what was pushed is whole.
final class ShallowLists: Sendable {
    /// Of one app, so that a list that is slow to change holds up nobody else.
    private final class Entries: Sendable {
        struct State {
            var next = 0
            var commits: [Int: Set<String>] = [:]

            var reliedOn: Set<String> { commits.values.reduce(into: []) { $0.formUnion($1) } }
        }

        // Held while the list is changed: no push may come to rely on what another one takes away.
        private let state = Mutex(State())

        func locked<T: Sendable>(_ body: (inout State) throws(SystemError) -> T) throws(SystemError) -> T {
            let result: Result<T, SystemError> = state.withLock { state in
                do throws(SystemError) { return .success(try body(&state)) } catch { return .failure(error) }
            }
            return try result.get()
        }

        func settle(_ push: Int) { state.withLock { $0.commits[push] = nil } }
    }

    private let apps = Mutex<[AppID: Entries]>([:])

    private func entries(_ app: AppID) -> Entries {
        apps.withLock { apps in
            if let known = apps[app] { return known }
            let new = Entries()
            apps[app] = new
            return new
        }
    }

    /// Puts commits on the list. They stay until `settle` is called with what this returns.
    func add(_ commits: [String], _ app: AppID, _ file: ShallowFile) throws(SystemError) -> Int {
        try entries(app).locked { state throws(SystemError) in
            try file.add(commits)
            state.next += 1
            state.commits[state.next] = Set(commits)
            return state.next
        }
    }

    func settle(_ push: Int, _ app: AppID) { entries(app).settle(push) }

    /// The entries that no push relies on.
    func idle(_ app: AppID, _ file: ShallowFile) throws(SystemError) -> [String] {
        try entries(app).locked { state throws(SystemError) in
            let kept = state.reliedOn
            return try file.read().filter { !kept.contains($0) }
        }
    }

    /// Takes commits off the list, but for those that a push relies on by now.
    func remove(_ commits: [String], _ app: AppID, _ file: ShallowFile) throws(SystemError) {
        try entries(app).locked { state throws(SystemError) in
            let going = Set(commits).subtracting(state.reliedOn)
            if !going.isEmpty { try file.remove(Array(going)) }
        }
    }
}
