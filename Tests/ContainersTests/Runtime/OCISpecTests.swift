import Domain
import Testing

@testable import Containers

@Suite struct OCISpecTests {
    private func spec(swap: Bool = true, openFiles: UInt64 = 1000) -> JSONValue {
        OCISpec(
            rootfs: "/r", hostname: OCISpec.hostname(of: "web.1"), arguments: ["/paas/init"], directory: "/app",
            environment: ["A=b"], firstUID: OCISpec.firstUID(base: 2_000_000_000, slot: 2), sysfs: "/s",
            binds: [.init("/x", at: "/y", readOnly: true, executable: false)], networkNamespace: "/run/netns/n",
            cgroupPath: "/paas_t/1", limits: .init(memoryBytes: 64 << 20, cpuMillis: 500, pids: 10), limitsSwap: swap,
            hostOpenFiles: openFiles, seccomp: .object([]), annotations: ["k": "v"]
        ).document
    }

    @Test func theProcessHasNoRights() throws {
        let process = try #require(spec()["process"])
        #expect(process["user"]?["uid"]?.integerValue == 1000)
        #expect(process["noNewPrivileges"]?.boolValue == true)
        for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
            #expect(process["capabilities"]?[set]?.arrayValue == [])
        }
        let files = try #require(process["rlimits"]?.arrayValue?.first)
        #expect(files["hard"]?.integerValue == 1000)
        #expect(files["soft"]?.integerValue == 1000)
    }

    @Test func usersAreMappedToTheAppsRange() throws {
        let linux = try #require(spec()["linux"])
        let map = try #require(linux["uidMappings"]?.arrayValue?.first)
        #expect(map["containerID"]?.integerValue == 0)
        #expect(map["hostID"]?.integerValue == 2_000_131_072)
        #expect(map["size"]?.integerValue == 65_536)
        #expect(linux["gidMappings"] == linux["uidMappings"])
        let types = linux["namespaces"]?.arrayValue?.compactMap { $0["type"]?.stringValue }
        #expect(types.map { Set($0) } == ["pid", "ipc", "uts", "mount", "user", "cgroup", "network"])
    }

    @Test func limitsAreInCgroupUnits() throws {
        let resources = try #require(spec()["linux"]?["resources"])
        #expect(resources["memory"]?["limit"]?.integerValue == 64 << 20)
        #expect(resources["memory"]?["swap"]?.integerValue == 64 << 20)
        #expect(resources["cpu"]?["quota"]?.integerValue == 50_000)
        #expect(resources["cpu"]?["period"]?.integerValue == 100_000)
        #expect(resources["pids"]?["limit"]?.integerValue == 10)
        #expect(spec(swap: false)["linux"]?["resources"]?["memory"]?["swap"] == nil)
    }

    @Test func everyMountIsNosuid() throws {
        let mounts = try #require(spec()["mounts"]?.arrayValue)
        #expect(mounts.count > 6)
        for mount in mounts {
            #expect(mount["options"]?.arrayValue?.contains(.string("nosuid")) == true, "\(mount)")
        }
        let bind = try #require(mounts.last)
        #expect(bind["options"]?.arrayValue?.compactMap(\.stringValue) == ["bind", "ro", "nosuid", "nodev", "noexec"])
    }

    @Test func hostNamesHaveNoDots() {
        #expect(OCISpec.hostname(of: "web.1") == "web-1")
        #expect(OCISpec.hostname(of: "a-b.12") == "a-b-12")
    }

    @Test func seccompGroupsFollowRightsAndArchitecture() throws {
        let profile = try JSONParser.parse(
            Array(
                #"""
                {"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
                 "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
                 "syscalls":[
                  {"names":["read"],"action":"SCMP_ACT_ALLOW","args":[],"includes":{},"excludes":{}},
                  {"names":["arch_prctl"],"action":"SCMP_ACT_ALLOW","args":null,"includes":{"arches":["amd64"]},"excludes":{}},
                  {"names":["s390"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390x"]}},
                  {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
                  {"names":["bpf"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"excludes":{"caps":["CAP_SYS_ADMIN"]}},
                  {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":2,"value":9,"valueTwo":0,"op":"SCMP_CMP_NE"}]}
                 ]}
                """#.utf8))
        let plain = try SeccompProfile.oci(profile, architecture: "amd64", capabilities: [])
        #expect(plain["architectures"]?.arrayValue == [.string("SCMP_ARCH_X86_64"), .string("SCMP_ARCH_X86")])
        #expect(plain["defaultErrnoRet"]?.integerValue == 38)
        func names(_ profile: JSONValue) -> [String] {
            (profile["syscalls"]?.arrayValue ?? []).flatMap { $0["names"]?.arrayValue ?? [] }.compactMap(\.stringValue)
        }
        func rules(_ name: String, in profile: JSONValue) -> [JSONValue] {
            (profile["syscalls"]?.arrayValue ?? []).filter { $0["names"]?.arrayValue?.contains(.string(name)) ?? false }
        }
        #expect(names(plain).suffix(2) == ["read", "arch_prctl"], "the group of another architecture is left out")
        #expect(rules("read", in: plain).first?["args"] == nil)
        // Ours are the only rules for what we close, whatever the profile and its rights say.
        let admin = try SeccompProfile.oci(profile, architecture: "amd64", capabilities: ["CAP_SYS_ADMIN"])
        for document in [plain, admin] {
            let closed = rules("bpf", in: document)
            #expect(closed.map { $0["action"]?.stringValue } == ["SCMP_ACT_ERRNO"])
            #expect(closed.first?["errnoRet"]?.integerValue == 1)
            #expect(rules("socket", in: document).count == SeccompProfile.socketFamilies.count + 1)
        }
        #expect(throws: PaaSError.self) {
            try SeccompProfile.oci(.object([]), architecture: "amd64", capabilities: [])
        }
    }

    @Test func theHostsOwnProfileCanBeUsed() throws {
        let profile = try HostFacts.seccomp()
        let calls = try #require(profile["syscalls"]?.arrayValue)
        let allowed = Set(
            calls.filter { $0["action"]?.stringValue == "SCMP_ACT_ALLOW" }
                .flatMap { $0["names"]?.arrayValue ?? [] }.compactMap(\.stringValue))
        #expect(allowed.isSuperset(of: ["read", "clone", "epoll_wait"]))
        // The flags of clone3 can't be looked at: programs take its absence as a wish to use clone.
        #expect(allowed.isDisjoint(with: ["bpf", "clone3", "init_module", "kexec_load", "mount", "unshare"]))
    }
}
