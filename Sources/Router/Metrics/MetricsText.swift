import Domain
import Synchronization

/// The router's figures in Prometheus' text format.
enum MetricsText {
    private static let metrics:
        [(name: String, kind: String, help: String, value: @Sendable (RouteCounters.Sum) -> Int)] = [
            ("paas_router_flows_total", "counter", "Flows that were taken.", { $0.flows }),
            ("paas_router_flows_active", "gauge", "Flows now.", { $0.active }),
            ("paas_router_bytes_in_total", "counter", "Bytes from clients.", { $0.bytesIn }),
            ("paas_router_bytes_out_total", "counter", "Bytes to clients.", { $0.bytesOut }),
            (
                "paas_router_connect_failures_total", "counter", "Connects to backends that failed.",
                { $0.connectFailures }
            ),
            ("paas_router_retries_total", "counter", "Connects tried on another backend.", { $0.retries }),
        ]

    static func write(_ control: ControlPlane) -> String {
        let rows = control.routes.values.map { plan in
            var sum = RouteCounters.Sum()
            for counters in plan.shared.counters { counters.add(to: &sum) }
            return (label: "{app=\"\(plan.app)\",binding=\"\(plan.name)\"}", sum: sum)
        }.sorted { $0.label < $1.label }
        var text = ""
        for metric in metrics {
            text += "# HELP \(metric.name) \(metric.help)\n# TYPE \(metric.name) \(metric.kind)\n"
            for row in rows { text += "\(metric.name)\(row.label) \(metric.value(row.sum))\n" }
        }
        text += "# HELP paas_router_flows_ended_total Flows that ended, by reason.\n"
        text += "# TYPE paas_router_flows_ended_total counter\n"
        for ending in FlowEnding.allCases {
            let count = control.shared.endings[ending.rawValue].value.load(ordering: .relaxed)
            text += "paas_router_flows_ended_total{reason=\"\(ending.label)\"} \(count)\n"
        }
        text += "# HELP paas_router_ports_failed Bindings that can't listen now.\n"
        text += "# TYPE paas_router_ports_failed gauge\npaas_router_ports_failed \(control.book.failures.count)\n"
        text += "# HELP paas_router_table_revision The newest revision that every loop serves.\n"
        text += "# TYPE paas_router_table_revision gauge\n"
        text += "paas_router_table_revision \(control.servedMark?.revision ?? 0)\n"
        let budget = control.shared.budget
        for (name, kind, help, value) in [
            ("table_connected", "gauge", "Whether paasd's table is followed now.", control.followsTable ? 1 : 0),
            ("descriptors_used", "gauge", "Descriptors that flows and listeners hold.", budget.used),
            ("descriptors_limit", "gauge", "Most descriptors that flows and listeners may hold.", budget.limit),
            ("accept_pauses_total", "counter", "Times that a port had to let connections wait.", budget.pauses),
        ] {
            text += "# HELP paas_router_\(name) \(help)\n# TYPE paas_router_\(name) \(kind)\n"
            text += "paas_router_\(name) \(value)\n"
        }
        return text
    }
}
