import Domain
import Testing

@testable import Containers

@Suite struct SubnetPlanTests {
    @Test func everySpaceHasItsOwnPart() throws {
        for prefix in [12, 16, 18, 20] {
            let plan = try SubnetPlan(v4: "10.208.0.0/\(prefix)", v6: "fd5a:1bab::/48")
            #expect(plan.spaceCount == 1 << (22 - prefix))
            var seen: Set<IPNetwork> = []
            var last: IPNetwork?
            for index in 0..<plan.spaceCount {
                let space = try plan.space(index)
                #expect(space.v4.prefix == 22 && space.v6.prefix == 64)
                #expect(plan.v4.contains(space.v4) && plan.v6.contains(space.v6))
                #expect(seen.insert(space.v4).inserted && seen.insert(space.v6).inserted)
                if let last { #expect(!last.overlaps(space.v4)) }
                #expect(space.v4.contains(address: space.gateway4) && space.v6.contains(address: space.gateway6))
                last = space.v4
            }
            for index in [-1, plan.spaceCount, Int.max] {
                let error = #expect(throws: PaaSError.self) { try plan.space(index) }
                #expect(error?.code == .exhausted)
            }
        }
    }

    @Test func knownValues() throws {
        let space = try SubnetPlan(v4: "10.213.0.0/16", v6: "fd5a:1bab::/48").space(63)
        #expect(space.v4.description == "10.213.252.0/22")
        #expect(space.v6.description == "fd5a:1bab:0:3f::/64")
        #expect(space.gateway4 == "10.213.252.1")
        #expect(space.gateway6 == "fd5a:1bab:0:3f::1")
    }

    @Test(arguments: [
        ("10.213.0.0/21", "fd5a::/48"), ("10.213.0.0/16", "fd5a::/64"), ("10.213.0.1/16", "fd5a::/48"),
        ("10.213.0.0", "fd5a::/48"), ("fd5a::/48", "10.213.0.0/16"), ("10.213.0.0/+16", "fd5a::/48"),
        ("10.213.0.0/16", "fd5a::1/48"), ("", ""), ("0.0.0.0/0", "fd5a::/48"), ("10.0.0.0/16/16", "fd5a::/48"),
    ])
    func refusesOthers(_ v4: String, _ v6: String) {
        let error = #expect(throws: PaaSError.self) { try SubnetPlan(v4: v4, v6: v6) }
        #expect(error?.code == .invalid)
        #expect(error?.message.contains("PAAS_SUBNETS") == true)
    }

    @Test func overlapsAreSymmetric() throws {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            func network() -> IPNetwork {
                IPNetwork(
                    bytes: [10, UInt8.random(in: 0...3, using: &random), UInt8.random(in: 0...255, using: &random), 0],
                    prefix: Int.random(in: 8...24, using: &random))
            }
            let a = network(), b = network()
            #expect(a.overlaps(b) == b.overlaps(a))
            let shared = min(a.prefix, b.prefix)
            #expect(
                a.overlaps(b)
                    == (IPNetwork(bytes: a.bytes, prefix: shared) == IPNetwork(bytes: b.bytes, prefix: shared)))
            let kept = IPNetwork.withoutNested([a, b])
            #expect(kept.contains { $0.contains(a) } && kept.contains { $0.contains(b) })
        }
    }

    @Test func routesThatAreInTheWay() throws {
        let plan = try SubnetPlan(v4: "10.219.0.0/16", v6: "fd5a:1bac::/48")
        func check(_ destination: String, dev: String = "tun0", type: String? = nil) -> PaaSError? {
            do throws(PaaSError) {
                try HostRoutes.check(plan, routes: [.init(dst: destination, dev: dev, type: type)], ownPrefix: "px-")
                return nil
            } catch {
                return error
            }
        }
        for fine in ["default", "0.0.0.0/1", "128.0.0.0/1", "10.220.0.0/16", "fd5a:1bad::/48", "fe80::/64"] {
            #expect(check(fine) == nil)
        }
        #expect(check("10.219.4.0/22", dev: "px-1") == nil)
        #expect(check("10.0.0.0/8", type: "blackhole") == nil)
        for bad in ["10.0.0.0/8", "10.219.3.7", "10.219.0.0/16", "fd5a:1bac:0:7::/64", "fd00::/8"] {
            let error = check(bad)
            #expect(error?.code == .conflict)
            #expect(error?.message.contains("PAAS_SUBNETS") == true)
            #expect(error?.message.contains(bad) == true)
            #expect(error?.message.contains("tun0") == true)
        }
    }

    @Test func resolversThatAContainerCanReach() {
        let text =
            "# c\nnameserver 127.0.0.53\nnameserver\t192.0.2.53\nsearch a\nnameserver ::1\nnameserver fe80::1%eth0\n"
        #expect(ResolverConfiguration.servers(text) == ["192.0.2.53"])
        #expect(ResolverConfiguration.servers("nameserver 127.0.0.1\nnameserver x\nnameserver 10.0.0.0/8") == [])
        #expect(
            ResolverConfiguration.servers((1...5).map { "nameserver 192.0.2.\($0)" }.joined(separator: "\n")).count == 3
        )
        #expect(ResolverConfiguration.servers("nameserver 2001:db8::53") == ["2001:db8::53"])
    }

    @Test func closedNetworksMustBeNetworks() throws {
        let settings = try Settings(environment: ["PAAS_EGRESS_DENY": "10.0.0.0/8, nonsense; drop"], file: "")
        let plan = try SubnetPlan(v4: settings.subnetV4, v6: settings.subnetV6)
        let error = #expect(throws: PaaSError.self) {
            try PacketFilter.rules(
                settings: settings, plan: plan, resolvers: .init(upstreams: []), forwards: true, publicPorts: [])
        }
        #expect(error?.message.contains("PAAS_EGRESS_DENY") == true)
    }
}
