public enum TransportProtocol: String, Sendable, Codable, CaseIterable { case tcp, udp, sctp }

/// A public port (later also a host name) that leads to the processes of one type.
public struct PortBinding: Sendable, Codable, Hashable {
    public enum BindingProtocol: String, Sendable, Codable, CaseIterable {
        case tcp, udp, sctp, tls, http
        /// Those that the platform's router serves.
        public static let offered: Set<BindingProtocol> = [.tcp]
        /// What the process listens on.
        public var transport: TransportProtocol {
            switch self {
            case .udp: .udp
            case .sctp: .sctp
            case .tcp, .tls, .http: .tcp
            }
        }
    }
    public enum Affinity: String, Sendable, Codable { case none, source }
    public enum ProxyProtocol: String, Sendable, Codable { case none, v1, v2 }
    public enum Plane: String, Sendable, Codable { case auto, user, kernel }
    public enum State: String, Sendable, Codable { case active, failed }

    /// How long flows may go on after their instance left the table, unless a port says otherwise.
    public static let defaultDrainSeconds = 30

    public var id: BindingID
    public var app: AppID
    public var name: String
    public var `protocol`: BindingProtocol
    public var processType: String
    public var targetPort: UInt16
    public var publicPort: UInt16
    public var affinity: Affinity
    public var proxyProtocol: ProxyProtocol
    public var drainSeconds: Int
    public var plane: Plane
    public var state: State
    public var reason: String?
    public var createdAt: Timestamp

    public init(
        id: BindingID, app: AppID, name: String, protocol: BindingProtocol, processType: String, targetPort: UInt16,
        publicPort: UInt16, affinity: Affinity = .none, proxyProtocol: ProxyProtocol = .none,
        drainSeconds: Int = PortBinding.defaultDrainSeconds,
        plane: Plane = .auto, state: State = .active, reason: String? = nil, createdAt: Timestamp
    ) {
        self.id = id
        self.app = app
        self.name = name
        self.protocol = `protocol`
        self.processType = processType
        self.targetPort = targetPort
        self.publicPort = publicPort
        self.affinity = affinity
        self.proxyProtocol = proxyProtocol
        self.drainSeconds = drainSeconds
        self.plane = plane
        self.state = state
        self.reason = reason
        self.createdAt = createdAt
    }
}

extension PortBinding {
    /// `PORT_<NAME>` of a binding: upper case, `-` becomes `_`.
    public var environmentName: String {
        "PORT_" + String(name.uppercased().map { $0 == "-" ? "_" : $0 })
    }
}
