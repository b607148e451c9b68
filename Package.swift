// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours: Swift 6 language mode, warnings are errors, explicit existentials.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let hummingbirdTesting: Target.Dependency = .product(name: "HummingbirdTesting", package: "hummingbird")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let httpClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let toml: Target.Dependency = .product(name: "TOMLKit", package: "TOMLKit")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "slipway",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "paasd", targets: ["paasd"]),
        .executable(name: "paas-engine", targets: ["paas-engine"]),
        .executable(name: "paas-router", targets: ["paas-router"]),
        .executable(name: "paas-git", targets: ["paas-git"]),
        .executable(name: "paasctl", targets: ["paasctl"]),
        .executable(name: "paas-lifecycle", targets: ["paas-lifecycle"]),
    ],
    dependencies: [
        .package(
            url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1",
            traits: ["ConfigurationSupport"]),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    ],
    targets: [
        // C
        .systemLibrary(name: "CLibUV", pkgConfig: "libuv", providers: [.apt(["libuv1-dev"])]),
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CLibGit2", pkgConfig: "libgit2", providers: [.apt(["libgit2-dev"])]),
        .systemLibrary(name: "CLibZ", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CShim"),

        // Libraries, lowest first
        .target(name: "Domain", swiftSettings: strict),
        .target(name: "OS", dependencies: ["CShim", "Domain"], swiftSettings: strict),
        .target(name: "Telemetry", dependencies: ["Domain", logging], swiftSettings: strict),
        .target(name: "Postgres", dependencies: ["CLibPQ"], swiftSettings: strict),
        .target(name: "Store", dependencies: ["Domain", "Postgres", crypto], swiftSettings: strict),
        .target(name: "Git", dependencies: ["Domain", "OS", "CLibGit2"], swiftSettings: strict),
        .target(name: "Containers", dependencies: ["Domain", "OS", "CShim", crypto, logging], swiftSettings: strict),
        .target(name: "Lifecycle", dependencies: ["Domain", "OS", toml], swiftSettings: strict),
        .target(name: "Builder", dependencies: ["Domain", yams, logging], swiftSettings: strict),
        .target(name: "Scheduler", dependencies: ["Domain", logging], swiftSettings: strict),
        .target(name: "Router", dependencies: ["Domain", "OS", "CLibUV", "CShim", logging], swiftSettings: strict),
        .target(
            name: "API",
            dependencies: ["Domain", "CLibZ", hummingbird, nioCore, nioPosix, nioHTTP1, logging, crypto],
            swiftSettings: strict),

        // Programs
        .executableTarget(
            name: "paasd",
            dependencies: [
                "Domain", "OS", "Telemetry", "Postgres", "Store", "Git", "Containers", "Builder", "Scheduler",
                "API", logging,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "paas-engine", dependencies: ["Domain", "OS", "Telemetry", "Containers", logging],
            swiftSettings: strict),
        .executableTarget(
            name: "paas-router", dependencies: ["Domain", "OS", "Telemetry", "Router", logging],
            swiftSettings: strict),
        .executableTarget(
            name: "paas-git", dependencies: ["Domain", "OS", "Telemetry", "Git", logging], swiftSettings: strict),
        .executableTarget(
            name: "paas-lifecycle", dependencies: ["Domain", "OS", "Lifecycle"], swiftSettings: strict),
        .executableTarget(
            name: "paasctl",
            dependencies: ["Domain", arguments, httpClient, nioCore, nioHTTP1],
            swiftSettings: strict),

        // Tests
        .target(name: "Fuzzing", path: "Tests/Fuzzing", swiftSettings: strict),
        .testTarget(name: "DomainTests", dependencies: ["Domain", "Fuzzing"], swiftSettings: strict),
        .testTarget(name: "OSTests", dependencies: ["OS", "Domain"], swiftSettings: strict),
        .testTarget(name: "TelemetryTests", dependencies: ["Telemetry", logging], swiftSettings: strict),
        .testTarget(name: "PostgresTests", dependencies: ["Postgres"], swiftSettings: strict),
        .testTarget(name: "StoreTests", dependencies: ["Store", "Postgres", "Domain"], swiftSettings: strict),
        .testTarget(name: "GitTests", dependencies: ["Git", "OS", "Domain", "Fuzzing"], swiftSettings: strict),
        .testTarget(name: "ContainersTests", dependencies: ["Containers", "OS", "Domain"], swiftSettings: strict),
        .testTarget(name: "BuilderTests", dependencies: ["Builder", "Domain", "Fuzzing"], swiftSettings: strict),
        .testTarget(
            name: "LifecycleTests",
            dependencies: ["Lifecycle", "paas-lifecycle", "OS", "Domain", "Fuzzing", toml], exclude: ["Fixtures"],
            swiftSettings: strict),
        .testTarget(name: "PaasdTests", dependencies: ["paasd", "Domain", "API"], swiftSettings: strict),
        .testTarget(name: "SchedulerTests", dependencies: ["Scheduler", "Domain"], swiftSettings: strict),
        .testTarget(name: "RouterTests", dependencies: ["Router", "OS", "Domain"], swiftSettings: strict),
        .testTarget(name: "PaasCtlTests", dependencies: ["paasctl", "Domain", arguments], swiftSettings: strict),
        .testTarget(
            name: "APITests",
            dependencies: ["API", "Domain", "Telemetry", hummingbird, hummingbirdTesting, nioCore, logging],
            swiftSettings: strict),
    ]
)
