import Domain
import Testing

@Suite struct FlowReportTests {
    @Test func theSummaryNamesWhatWasMostFirst() {
        var report = FlowReport(
            binding: .random(), port: "web", endings: ["completed": 2, "connect_failed": 5, "idle": 2],
            connectFailures: 6, lastConnectError: "web.1: connection refused")
        #expect(
            report.summary
                == "port web: 9 flows ended: 5 connect failed, 2 completed, 2 idle; 6 connects failed, the last: web.1: connection refused"
        )
        report.endings = [:]
        report.lastConnectError = "web.1\u{1b}[31m:\nbad"
        #expect(report.summary == "port web: 0 flows ended; 6 connects failed, the last: web.1[31m:bad")
    }
}
