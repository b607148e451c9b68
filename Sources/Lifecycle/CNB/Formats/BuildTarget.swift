import Glibc
import OS

/// The system that a slug runs on, as buildpacks are told and as their `[[targets]]` are compared with.
public struct BuildTarget: Sendable, Hashable {
    /// `linux`.
    public var os: String
    /// As Go names it: `amd64`, `arm64`.
    public var architecture: String
    /// `ID` of os-release, for example `debian`; empty if not known.
    public var distribution: String
    /// `VERSION_ID` of os-release, for example `13`; empty if not known.
    public var distributionVersion: String

    public init(os: String = "linux", architecture: String, distribution: String = "", distributionVersion: String = "")
    {
        self.os = os
        self.architecture = architecture
        self.distribution = distribution
        self.distributionVersion = distributionVersion
    }

    /// Of this machine. Stacks are Debian for build and run alike, so the build image speaks for both.
    /// - Parameter osRelease: path of the file that names the distribution.
    public static func host(osRelease: String = "/etc/os-release") -> BuildTarget {
        var name = utsname()
        uname(&name)
        let machine = withUnsafeBytes(of: &name.machine) {
            String(decoding: $0.prefix(while: { $0 != 0 }), as: UTF8.self)
        }
        let names = [
            "x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "riscv64": "riscv64",
        ]
        var target = BuildTarget(architecture: names[machine] ?? machine)
        // Without the file the distribution is not known, which the contract allows.
        let text = (try? Files.readText(osRelease, limit: 64 << 10)) ?? nil
        for line in (text ?? "").split(separator: "\n") {
            let value = line.drop(while: { $0 != "=" }).dropFirst().filter { $0 != "\"" && $0 != "'" }
            if line.hasPrefix("ID=") { target.distribution = String(value) }
            if line.hasPrefix("VERSION_ID=") { target.distributionVersion = String(value) }
        }
        return target
    }

    /// What detect and build are told.
    public var variables: [String: String] {
        // Always set, so that a script that stops at unset names can read it; `v7` is what `armv7l` is to Go.
        var out = [
            "CNB_TARGET_OS": os, "CNB_TARGET_ARCH": architecture,
            "CNB_TARGET_ARCH_VARIANT": architecture == "arm" ? "v7" : "",
        ]
        if !distribution.isEmpty { out["CNB_TARGET_DISTRO_NAME"] = distribution }
        if !distributionVersion.isEmpty { out["CNB_TARGET_DISTRO_VERSION"] = distributionVersion }
        return out
    }

    /// `debian 13 on linux/amd64`.
    public var words: String {
        let system = [distribution, distributionVersion].filter { !$0.isEmpty }.joined(separator: " ")
        return (system.isEmpty ? "" : system + " on ") + "\(os)/\(architecture)"
    }
}
