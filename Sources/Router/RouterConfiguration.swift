import CLibUV
import Domain

/// What a router needs to know. Times are in milliseconds.
public struct RouterConfiguration: Sendable {
    /// paasd's socket for routers.
    public var tableSocket: String
    /// Where the last good table is kept. Its folder exists and belongs to the router's user.
    public var copyPath: String
    /// Of this boot of the host; a copy of another boot opens listeners only.
    public var bootID: String
    /// Address of the public ports; `0.0.0.0` and `::`: all, of IPv4 and IPv6.
    public var address: String
    /// Host and port of `/healthz` and `/metrics`; nil: none.
    public var metricsAddress: String?
    /// The name under which paasd knows this router, the same after a restart. Letters, digits and `-`.
    public var routerID: String
    /// Packet loops; one for each core if nil.
    public var loops: Int?
    /// Most descriptors that the router may hold; the process's hard limit if nil.
    public var descriptorLimit: Int?
    /// How long a connection waits for the first table after a reboot.
    public var tableWaitMilliseconds: UInt64 = 10_000
    /// Without any line for so long paasd is taken for dead.
    public var silenceMilliseconds: UInt64 = 10_000
    /// Between two attempts to open a port that could not be opened.
    public var portRetryMilliseconds: UInt64 = 2000
    /// How long a backend that refused is passed over.
    public var skipMilliseconds: UInt64 = 1000
    /// Between two attempts to write the table's copy after one that failed.
    public var copyRetryMilliseconds: UInt64 = 1500
    /// Without a change, between two acknowledgements: paasd takes a router that says nothing for hung.
    public var acknowledgementMilliseconds: UInt64 = 5000
    /// Between two reports of what became of flows.
    public var flowReportMilliseconds: UInt64 = 10_000
    /// Most bindings in one report; the others come with the next.
    public var flowReportLimit = 500
    /// Most silence of a flow that one side has ended.
    public var halfClosedIdleMilliseconds: UInt64 = 300_000
    /// How long the router waits for its flows to end after it was told to stop. Meanwhile it serves as before, because
    /// the next one can't take the ports yet.
    public var drainMilliseconds: UInt64 = 5000
    /// How long flows may go on once the ports are closed.
    public var closingMilliseconds: UInt64 = 250

    public init(
        tableSocket: String, copyPath: String, bootID: String, address: String = "0.0.0.0",
        metricsAddress: String? = nil, routerID: String, loops: Int? = nil
    ) {
        self.tableSocket = tableSocket
        self.copyPath = copyPath
        self.bootID = bootID
        self.address = address
        self.metricsAddress = metricsAddress
        self.routerID = routerID
        self.loops = loops
    }

    /// The router that belongs to one platform on one host.
    /// - Parameter bootID: the contents of `settings.bootIDFile`.
    public init(settings: Settings, bootID: String) {
        self.init(
            tableSocket: settings.tableSocket, copyPath: settings.dataDirectory + "/router/table.json", bootID: bootID,
            address: settings.routerAddress, metricsAddress: settings.routerMetricsAddress,
            routerID: "local-\(settings.instance)")
    }

    /// - Throws: naming the setting that can't be used.
    func validate() throws(PaaSError) {
        guard SocketAddress(ip: address, port: 0) != nil else {
            throw PaaSError(.invalid, "PAAS_ROUTER_ADDRESS must be an IP address, as in 0.0.0.0 or 192.0.2.1")
        }
        if let metricsAddress, SocketAddress(hostAndPort: metricsAddress) == nil {
            throw PaaSError(
                .invalid, "PAAS_ROUTER_METRICS_ADDRESS must be an IP address and a port, as in 127.0.0.1:7090")
        }
        guard !routerID.isEmpty, routerID.count <= 64,
            routerID.utf8.allSatisfy({ ($0 | 32 >= 97 && $0 | 32 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 45 })
        else { throw PaaSError(.invalid, "a router's id has 1 to 64 letters, digits and '-'") }
    }
}
