import Domain
import Scheduler

/// A change that came through the API: the scheduler looks at the app, and routers get the table anew, because ports are
/// part of it and no work of the scheduler's.
struct ChangeNotice: SchedulerWakeup {
    let reconciler: Reconciler
    let hub: RoutingHub

    func wake(_ app: AppID) {
        reconciler.wake(app)
        hub.tableChanged()
    }
}
