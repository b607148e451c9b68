import Domain
import Logging
import Synchronization

/// Tells paasd from time to time what became of flows, for the logs of the apps. What could not be told is told with the
/// next report. Confined to the control loop.
final class FlowReporter {
    /// Figures of a binding, as they stood when they were told.
    struct Totals: Hashable {
        var endings = [Int](repeating: 0, count: FlowEnding.allCases.count)
        var connectFailures = 0

        init() {}

        init(_ route: RouteShared) {
            endings = route.endings.map { $0.value.load(ordering: .relaxed) }
            connectFailures = route.counters.reduce(0) { $0 + $1.connectFailures.load(ordering: .relaxed) }
        }
    }

    private unowned let control: ControlPlane
    private var told: [BindingID: Totals] = [:]
    private var telling: [BindingID: Totals] = [:]
    /// Where the next report begins among the routes, so that each has its turn.
    private var next = 0
    private var exchange: UnixExchange?
    private var status = 0
    private var lastProblem: String?
    private var timer: LoopTimer?

    init(control: ControlPlane) {
        self.control = control
        timer = LoopTimer(loop: control.loop) { [unowned self] in look() }
    }

    func start() {
        let interval = control.configuration.flowReportMilliseconds
        timer?.start(after: interval, every: interval)
    }

    func close() {
        exchange?.close()
        exchange = nil
        timer?.close()
    }

    private func look() {
        if exchange != nil { failed("no answer within \(control.configuration.flowReportMilliseconds) ms") }
        guard control.followsTable else { return }
        var reports: [FlowReport] = []
        told = told.filter { control.routes[$0.key] != nil }
        telling = [:]
        let plans = Array(control.routes.values)
        let first = next
        for offset in plans.indices where reports.count < control.configuration.flowReportLimit {
            next = (first + offset + 1) % plans.count
            let plan = plans[(first + offset) % plans.count]
            let now = Totals(plan.shared)
            guard let report = Self.report(plan, from: told[plan.binding] ?? Totals(), to: now) else { continue }
            telling[plan.binding] = now
            reports.append(report)
        }
        if !reports.isEmpty { send(reports) }
    }

    /// Nil if nothing went wrong.
    static func report(_ plan: RoutePlan, from old: Totals, to new: Totals) -> FlowReport? {
        var endings: [String: Int] = [:]
        var isTrouble = false
        for ending in FlowEnding.allCases {
            let count = new.endings[ending.rawValue] - old.endings[ending.rawValue]
            guard count > 0 else { continue }
            endings[ending.label] = count
            isTrouble = isTrouble || ending.isTrouble
        }
        let failures = new.connectFailures - old.connectFailures
        guard isTrouble || failures > 0 else { return nil }
        let last = failures > 0 ? plan.shared.lastConnectError.withLock { $0 } : nil
        return FlowReport(
            binding: plan.binding, port: plan.name, endings: endings, connectFailures: failures,
            lastConnectError: last.map { "\($0.name): \(UVError.text($0.code))" })
    }

    private func send(_ reports: [FlowReport]) {
        status = 0
        let configuration = control.configuration
        do {
            exchange = try UnixExchange(
                loop: control.loop, path: configuration.tableSocket, post: reports,
                to: "/v1/routers/\(configuration.routerID)/flows"
            ) { [unowned self] in receive($0) }
        } catch {
            failed("\(error)")
        }
    }

    private func receive(_ event: UnixExchange.Event) {
        switch event {
        case .head(let status): self.status = status
        case .body: break
        case .end:
            guard status >= 200 && status < 300 else { return failed("paasd answered with status \(status)") }
            exchange = nil
            lastProblem = nil
            told.merge(telling) { _, new in new }
        case .failed(let reason): failed(reason)
        }
    }

    private func failed(_ reason: String) {
        exchange?.close()
        exchange = nil
        if reason != lastProblem {
            control.logger.warning(
                "what became of flows could not be told; the next report has it too", metadata: ["reason": "\(reason)"])
        }
        lastProblem = reason
    }
}
