import Domain
import Testing

@Suite struct RulesTests {
    @Test(arguments: ["a", "web", "my-app-2", "a23456789012345678901234567890"])
    func namesWithinTheRule(_ name: String) throws { try Names.validate(name, "app") }

    @Test(arguments: ["", "-a", "a-", "A", "1a", "a_b", "a.b", "../x", "a23456789012345678901234567890x", "é", "a\n"])
    func namesOutsideTheRule(_ name: String) {
        #expect(throws: PaaSError.self) { try Names.validate(name, "app") }
    }

    /// Whatever bash does not hand on as it was given.
    @Test(arguments: ["UID", "PPID", "SHELLOPTS", "RANDOM", "BASH_ENV", "BASHOPTS", "PWD", "_", "IFS"])
    func keysThatTheShellKeepsToItself(_ key: String) {
        let error = #expect(throws: PaaSError.self) { try Names.validateConfigKey(key) }
        #expect(error?.message.contains("shell") == true)
    }

    @Test func whatBecameReservedCanBeUnset() throws {
        for key in ["PORT_WEB", "BASH_ENV", "KEY"] { try Names.validateConfigKeyForm(key) }
        #expect(throws: PaaSError.self) { try Names.validateConfigKeyForm("1A") }
    }

    @Test(arguments: ["KEY", "_x", "a1"]) func configKeys(_ key: String) throws { try Names.validateConfigKey(key) }

    @Test(arguments: ["", "1A", "A-B", "A B", "PORT", "PORT_WEB", "PAAS_APP", "DYNO", "É"])
    func configKeysRefused(_ key: String) {
        #expect(throws: PaaSError.self) { try Names.validateConfigKey(key) }
    }

    @Test func timestampsAreRFC3339AndComeBack() {
        #expect(Timestamp(microseconds: 0).description == "1970-01-01T00:00:00.000000Z")
        #expect(Timestamp("2026-11-22T11:12:13.5Z")?.description == "2026-11-22T11:12:13.500000Z")
        #expect(Timestamp("2000-02-29T23:59:59Z")?.description == "2000-02-29T23:59:59.000000Z")
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            let time = Timestamp(
                microseconds: Int64.random(in: -30_000_000_000_000_000...200_000_000_000_000_000, using: &generator))
            #expect(Timestamp(time.description) == time)
        }
        for text in [
            "", "2026-11-22", "2026-13-01T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T11:12:13+01:00", "x",
        ] {
            #expect(Timestamp(text) == nil)
        }
    }

    @Test func crashesAreRetriedAtOnceAndThenSlower() {
        #expect(CrashBackoff.delaySeconds(restarts: 1) == 0)
        #expect(CrashBackoff.delaySeconds(restarts: 3) == 0)
        #expect(CrashBackoff.delaySeconds(restarts: 4) == 1)
        #expect(CrashBackoff.delaySeconds(restarts: 6) == 4)
        #expect(CrashBackoff.delaySeconds(restarts: 1000) == CrashBackoff.maximumSeconds)
    }

    @Test func firstFormation() {
        #expect(FormationEntry.initial(processTypes: ["web", "worker"])["web"]?.quantity == 1)
        #expect(FormationEntry.initial(processTypes: ["web", "worker"])["worker"]?.quantity == 0)
        #expect(FormationEntry.initial(processTypes: ["dns", "release"]).mapValues(\.quantity) == ["dns": 1])
        #expect(FormationEntry.initial(processTypes: ["a", "b"]).values.allSatisfy { $0.quantity == 0 })
    }

    @Test func configValuesNeverShowThemselves() throws {
        let value = try ConfigValue("s3cret")
        #expect(!"\(value) \(String(reflecting: value))".contains("s3cret"))
        #expect(throws: PaaSError.self) { try ConfigValue([1, 0, 2]) }
        #expect(try ConfigValue([UInt8](repeating: 65, count: 65_536)).bytes.count == 65_536)
    }

    @Test func settingsComeFromTheEnvironmentOverTheFile() throws {
        let settings = try Settings(
            environment: ["PAAS_DOMAIN": "a.example", "HOME": "/x"],
            file: "# c\nPAAS_DOMAIN=b.example\nPAAS_PORT_RANGE=100-200\n")
        #expect(settings.domain == "a.example")
        #expect(settings.portRange == 100...200)
        #expect(settings.dataDirectory == "/var/lib/paas")
        #expect(throws: PaaSError.self) { try Settings(environment: ["PAAS_PORT_RANGE": "9-1"], file: "") }
        #expect(throws: PaaSError.self) { try Settings(environment: ["PAAS_DATA_DIR": "x/../y"], file: "") }
        #expect(throws: PaaSError.self) { try Settings(environment: [:], file: "no equals sign") }
    }

    @Test func callersAreToldAnAddressThatTheyCanReach() throws {
        func settings(_ router: String, _ api: String) throws -> Settings {
            let environment = [
                "PAAS_ROUTER_ADDRESS": router, "PAAS_API_ADDRESS": api, "PAAS_DOMAIN": "paas.example",
            ]
            return try Settings(environment: environment, file: "")
        }
        #expect(try settings("192.0.2.7", "0.0.0.0:7070").publicAddress == "192.0.2.7")
        #expect(try settings("0.0.0.0", "127.0.0.1:7070").publicAddress == "127.0.0.1")
        #expect(try settings("0.0.0.0", "0.0.0.0:7070").publicAddress == "paas.example")
        #expect(try settings("0.0.0.0", "[::]:7070").publicAddress == "paas.example")
        let six = try settings("0.0.0.0", "[fd00::1]:7070")
        #expect(six.publicAddress == "fd00::1" && six.publicAPIAddress == "[fd00::1]:7070")
        #expect(Settings.endpoint(six.publicAddress, 20_000) == "[fd00::1]:20000")
        #expect(try settings("192.0.2.7", "0.0.0.0:80").publicAPIAddress == "paas.example:80")
    }

    @Test func twoDataDirectoriesHaveTwoInstances() throws {
        let a = try Settings(environment: ["PAAS_DATA_DIR": "/a"], file: "")
        let b = try Settings(environment: ["PAAS_DATA_DIR": "/b"], file: "")
        #expect(a.hostName != b.hostName)
    }

    @Test func theHostHasRoomForSoMany() throws {
        func capacity(_ environment: [String: String]) throws -> Capacity {
            try Capacity(Settings(environment: environment, file: ""))
        }
        #expect(try capacity([:]) == Capacity(apps: 35_017, spaces: 64))
        let small = try capacity(["PAAS_SUBNETS": "10.0.0.0/20,fd00::/48", "PAAS_UID_BASE": "4000000000"])
        #expect(small == Capacity(apps: 4499, spaces: 4))
        #expect(throws: PaaSError.self) { try capacity(["PAAS_SUBNETS": "10.0.0.0,fd00::/48"]) }
    }
}
