/// What buildpacks see: nothing of what the platform's programs see but this.
enum BuildEnvironment {
    /// How package registries are reached: taken from the image (which took it from the host), unless the platform's own
    /// environment says otherwise.
    static let reach: Set<String> = [
        "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
        "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
        "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_CERT",
        "UV_INDEX_URL", "UV_DEFAULT_INDEX", "NPM_CONFIG_REGISTRY", "npm_config_registry",
        "GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE",
        "BUNDLE_MIRROR__ALL", "BUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/",
        "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
    ]

    /// What the platform tells its own buildpacks.
    static let told = ["PAAS_NETWORK", "PAAS_SWIFT_TOOLCHAIN"]

    /// - Parameters:
    ///   - platform: environment of the driver.
    ///   - image: lines `NAME=value`, read and never run.
    ///   - folder: BUILD_DIR.
    static func make(
        _ request: DriverRequest, platform: [String: String], image: String, folder: String, home: String,
        artifacts: String
    ) -> [String: String] {
        var result = [
            "PATH": platform["PAAS_BUILD_PATH"] ?? "/usr/local/bin:/usr/bin:/bin", "HOME": home, "LANG": "C.UTF-8",
            "STACK": request.stack, "REQUEST_ID": request.requestID, "SOURCE_VERSION": request.sourceVersion ?? "",
            "APP_DIR": folder, "DYNO": "run.1", "CURL_CONNECT_TIMEOUT": "30", "CURL_TIMEOUT": "180",
            // Nobody could answer.
            "GIT_TERMINAL_PROMPT": "0", "NO_COLOR": "1",
            // Archives and compiled files that carry a time get the same one in every build; 1980 is the first year that a
            // zip file can hold.
            "SOURCE_DATE_EPOCH": "315532800", "PAAS_ARTIFACTS": artifacts,
        ]
        for line in image.split(whereSeparator: \.isNewline) {
            guard let equals = line.firstIndex(of: "=") else { continue }
            let name = String(line[..<equals])
            if reach.contains(name) { result[name] = unquoted(line[line.index(after: equals)...]) }
        }
        for name in reach {
            if let value = platform[name], !value.isEmpty { result[name] = value }
        }
        for name in told {
            if let value = platform[name], !value.isEmpty { result[name] = value }
        }
        return result
    }

    /// `/etc/environment` allows quotes around a value.
    private static func unquoted(_ value: Substring) -> String {
        for quote in ["\"", "'"] where value.count >= 2 && value.hasPrefix(quote) && value.hasSuffix(quote) {
            return String(value.dropFirst().dropLast())
        }
        return String(value)
    }
}
