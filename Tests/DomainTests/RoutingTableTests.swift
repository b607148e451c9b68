import Domain
import Testing

@Suite struct RoutingTableTests {
    func route(_ port: UInt16, id: BindingID = .random(), backends: Int = 1) -> RoutingTable.Route {
        RoutingTable.Route(
            binding: id, app: "a", name: "web", protocol: .tcp, publicPort: port,
            backends: (0..<backends).map {
                .init(instance: .random(), name: "web.\($0)", address4: "10.0.0.\($0 + 2)", address6: nil, port: 5000)
            })
    }

    func table(_ revision: Int64, _ routes: [RoutingTable.Route], id: String = "t") -> RoutingTable {
        RoutingTable(
            mark: .init(tableID: id, revision: revision, bootID: "b"), routes: routes.sorted { $0.binding < $1.binding }
        )
    }

    @Test func aChangeLeadsFromOneTableToTheOther() {
        let kept = route(1), gone = route(2), before = route(3)
        var after = before
        after.backends = []
        let old = table(4, [kept, gone, before]), new = table(6, [kept, after, route(9)])
        #expect(old.applying(new.change(from: old)) == new)
    }

    @Test func olderRevisionsAndOtherBasesAreRefused() {
        let now = table(5, [route(1)])
        #expect(now.applying(.snapshot(table(4, []))) == nil)
        #expect(now.applying(table(7, []).change(from: table(6, []))) == nil)
        #expect(now.applying(.snapshot(table(1, [], id: "restored")))?.mark.tableID == "restored")
        #expect(now.applying(.keepAlive) == now)
    }
}
