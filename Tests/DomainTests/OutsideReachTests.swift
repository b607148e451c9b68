import Domain
import Testing

@Suite struct OutsideReachTests {
    private func reach(_ environment: [String: String]) throws -> OutsideReach {
        try Settings(environment: environment, file: "").reach
    }

    @Test func nothingIsSetWhereNothingIsNamed() throws {
        let none = try reach(["PAAS_HTTP_PROXY": ""])
        #expect(none.variables.isEmpty && none.certificates == nil && none.aptMirror == nil)
        #expect(none.redacted("a line") == "a line")
    }

    @Test func toolsLearnOfEachInTheirOwnWords() throws {
        let all = try reach([
            "PAAS_HTTPS_PROXY": "http://proxy:3128", "PAAS_PIP_INDEX_URL": "https://m/pypi/simple",
            "PAAS_NPM_REGISTRY": "https://m/npm/", "PAAS_GOPROXY": "https://m/go,off", "PAAS_GOSUMDB": "off",
            "PAAS_GEM_MIRROR": "https://m/gems", "PAAS_CA_CERTIFICATES": "/etc/paas/ca.pem",
            "PAAS_APT_MIRROR": "http://m/debian",
        ])
        let wanted = [
            "https_proxy": "http://proxy:3128", "HTTPS_PROXY": "http://proxy:3128",
            "no_proxy": "localhost,127.0.0.1,::1", "PIP_INDEX_URL": "https://m/pypi/simple",
            "UV_DEFAULT_INDEX": "https://m/pypi/simple", "npm_config_registry": "https://m/npm/",
            "NPM_CONFIG_REGISTRY": "https://m/npm/", "GOPROXY": "https://m/go,off", "GOSUMDB": "off",
            "BUNDLE_MIRROR__ALL": "https://m/gems", "SSL_CERT_FILE": OutsideReach.bundle,
            "NODE_EXTRA_CA_CERTS": OutsideReach.bundle,
        ]
        for (name, value) in wanted { #expect(all.variables[name] == value, "\(name)") }
        #expect(all.variables["http_proxy"] == nil)
        #expect(all.aptMirror == "http://m/debian")
        #expect(try reach(["PAAS_HTTP_PROXY": "http://p", "PAAS_NO_PROXY": ".corp"]).variables["NO_PROXY"] == ".corp")
    }

    @Test(arguments: [
        ("PAAS_HTTP_PROXY", "proxy:secret99"), ("PAAS_PIP_INDEX_URL", "ftp://u:secret99@m"),
        ("PAAS_GOPROXY", "https://u:secret99@m,elsewhere"), ("PAAS_NPM_REGISTRY", "https://m/ secret99"),
        ("PAAS_CA_CERTIFICATES", "secret99.pem"), ("PAAS_APT_MIRROR", "https://:@/secret99"),
        ("PAAS_GEM_MIRROR", "https://m/'secret99'"),
    ])
    func wrongOnesAreRefusedByNameOnly(_ setting: String, _ value: String) {
        let error = #expect(throws: PaaSError.self) { try reach([setting: value]) }
        #expect(error?.message.contains(setting) == true)
        #expect(error?.message.contains("secret99") == false)
    }

    @Test func credentialsDoNotReachALog() throws {
        let some = try reach([
            "PAAS_PIP_INDEX_URL": "https://build:hunter22@m/simple",
            "PAAS_GOPROXY": "https://tokentoken@a|https://x:y@b",
        ])
        #expect(
            some.redacted("Looking in indexes: https://build:hunter22@m/simple")
                == "Looking in indexes: https://***@m/simple")
        #expect(some.redacted("GOPROXY=https://tokentoken@a, hunter22") == "GOPROXY=https://***@a, ***")
        #expect(some.redacted("x:y is too short to be found in any text") == "x:y is too short to be found in any text")
    }
}
