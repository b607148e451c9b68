import Domain
import OS

/// Turns on forwarding of packets, without which no container reaches anything outside.
///
/// It is left on at teardown: there is no way to know who else on the host relies on it by then.
enum HostForwarding {
    /// - Parameter ownPrefix: names of our bridges begin with it; they are left alone.
    /// - Returns: what was changed, as `name=value`, for the log.
    static func enable(ownPrefix: String) throws(PaaSError) -> [String] {
        guard Files.exists("/proc/sys/net/ipv6/conf/all/forwarding") else {
            throw PaaSError(
                .unavailable,
                "the host's kernel runs without IPv6: remove 'ipv6.disable=1' from its command line and restart it",
                source: .platform, retry: .never)
        }
        return try NetworkTool.system("forwarding of packets could not be turned on") { () throws(SystemError) in
            var changed: [String] = []
            func set(_ name: String, _ value: String) throws(SystemError) {
                let path = "/proc/sys/net/\(name)"
                if try Files.readText(path) == value { return }
                try Files.writeExisting(path, value)
                changed.append("\(name)=\(value)")
            }
            try set("ipv4/ip_forward", "1")
            if try Files.readText("/proc/sys/net/ipv6/conf/all/forwarding") == "1" { return changed }
            // A host that forwards stops listening to router advertisements, and so loses its own IPv6 address and
            // route, unless accept_ra is 2. It has to be 2 before: the routes go at the moment of the change.
            for name in try Files.list("/proc/sys/net/ipv6/conf")
            where name != "all" && name != "default" && name != "lo" && !name.hasPrefix(ownPrefix) {
                let folder = "/proc/sys/net/ipv6/conf/\(name)"
                // An interface may vanish meanwhile; then there is nothing to keep.
                guard let accept = try Files.readText("\(folder)/accept_ra") else { continue }
                let forwards = try Files.readText("\(folder)/forwarding")
                if accept == "1", forwards == "0" { try set("ipv6/conf/\(name)/accept_ra", "2") }
            }
            try set("ipv6/conf/all/forwarding", "1")
            return changed
        }
    }
}
