import Domain

/// Which apps are to be looked at: a wake-up during a look makes one more look, however many come. Errors put a growing
/// pause between looks at the same app.
struct WorkQueue: Sendable {
    private struct Item: Sendable {
        var isRunning = false
        var isDirty = false
        var failures = 0
        var timer: Timestamp?
    }

    private var items: [AppID: Item] = [:]

    /// True if a look has to be started.
    mutating func wake(_ app: AppID) -> Bool {
        var item = items[app] ?? Item()
        defer { items[app] = item }
        if item.isRunning {
            item.isDirty = true
            return false
        }
        item.isRunning = true
        item.isDirty = false
        return true
    }

    /// Before each look.
    mutating func begin(_ app: AppID) { items[app]?.isDirty = false }

    /// After a look that went well. True if another one is due at once, because something happened meanwhile.
    mutating func succeeded(_ app: AppID) -> Bool {
        guard var item = items[app] else { return false }
        item.failures = 0
        if item.isDirty {
            items[app] = item
            return true
        }
        item.isRunning = false
        items[app] = item.timer == nil ? nil : item
        return false
    }

    /// After a look that failed. Returns the seconds until the next one.
    mutating func failed(_ app: AppID) -> Double {
        var item = items[app] ?? Item()
        item.isRunning = false
        item.failures = min(item.failures + 1, 10)
        items[app] = item
        return Backoff.seconds(failures: item.failures)
    }

    /// True if a timer has to be started for it: none is running that fires as early.
    mutating func schedule(_ app: AppID, at time: Timestamp) -> Bool {
        if let timer = items[app]?.timer, timer <= time { return false }
        items[app, default: Item()].timer = time
        return true
    }

    mutating func fired(_ app: AppID, at time: Timestamp) {
        guard items[app]?.timer == time else { return }
        items[app]?.timer = nil
    }
}

/// Pauses between attempts: 0.2 s, doubled up to 5 s.
enum Backoff {
    static func seconds(failures: Int) -> Double {
        min(0.2 * Double(1 << min(max(failures - 1, 0), 10)), 5)
    }
}
