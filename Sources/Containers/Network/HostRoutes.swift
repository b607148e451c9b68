import Domain
import FoundationEssentials

/// The host's routes, to find networks that `PAAS_SUBNETS` would take away from it.
enum HostRoutes {
    struct Route: Decodable, Sendable, Hashable {
        var dst: String
        var dev: String?
        var type: String?
    }

    static func all() throws(PaaSError) -> [Route] {
        let tool = try NetworkTool.path("ip", package: "iproute2")
        var routes: [Route] = []
        for family in ["-4", "-6"] {
            let output = try NetworkTool.run(
                tool, ["-j", family, "route", "show", "table", "all"], message: "the host's routes could not be read")
            do {
                routes += try JSONDecoder().decode([Route].self, from: Data(output))
            } catch {
                throw PaaSError(.internal, "the host's routes could not be read", cause: error)
            }
        }
        return routes
    }

    /// - Throws: `.conflict` naming the first route that overlaps.
    static func check(_ plan: SubnetPlan, routes: [Route], ownPrefix: String) throws(PaaSError) {
        for route in routes {
            // A route that leads nowhere takes nothing from anybody.
            if let type = route.type, !["unicast", "local"].contains(type) { continue }
            if let device = route.dev, device.hasPrefix(ownPrefix) { continue }
            // `default`, and the two halves of everything that VPNs use for it, don't name a network.
            guard let network = IPNetwork(route.dst), network.prefix > 1 else { continue }
            for own in [plan.v4, plan.v6] where own.overlaps(network) {
                throw PaaSError(
                    .conflict,
                    "PAAS_SUBNETS has \(own), and the host has a route to \(network)"
                        + (route.dev.map { " on \($0)" } ?? "")
                        + ": set PAAS_SUBNETS to networks that nothing else uses, as in 10.214.0.0/16,fd5a:1bac::/48",
                    source: .platform, retry: .afterRefresh)
            }
        }
    }
}
