import Domain
import FoundationEssentials
import Glibc
import Logging
import OS
import Testing

@testable import Containers

/// With the host's own cgroups, and with files in the place of those of another version.
@Suite struct HostCgroupsTests {
    private func withGroups(_ body: (HostCgroups) throws -> Void) throws {
        let cgroups = HostCgroups(parent: "paas_c\(UInt16.random(in: .min ... .max))")
        defer {
            do { try cgroups.removeAll() } catch { Issue.record("\(ErrorChain(error))") }
        }
        try body(cgroups)
    }

    private func sleeper(_ files: [String]) throws -> ChildProcess {
        var spec = ProcessSpec("/bin/sleep", ["1000"])
        spec.cgroupFiles = files
        return try ChildProcess.spawn(spec, descriptors: [nil, nil, nil])
    }

    @Test func allOfAGroupIsKilledAndNothingElse() throws {
        try withGroups { cgroups in
            let id = InstanceID.random()
            let monitor = try sleeper(cgroups.makeMonitor(id))
            let container = try sleeper(cgroups.make("\(id)"))
            let other = try sleeper(cgroups.makeMonitor(.random()))
            #expect(try cgroups.members("\(id).conmon") == [monitor.pid])
            #expect(try cgroups.known().count == 2)
            try cgroups.killAll(id)
            #expect(try monitor.wait() == 128 + SIGKILL)
            #expect(try container.wait() == 128 + SIGKILL)
            #expect(try other.poll() == nil)
            try cgroups.remove(id)
            #expect(try cgroups.known().count == 1)
            try other.signal(SIGKILL)
            _ = try other.wait()
        }
    }

    @Test func limitsOfVersion2() throws {
        let root = "/tmp/slipway-cgroup2-\(UUID().uuidString.lowercased())"
        defer { _ = try? Files.removeTree(root) }
        let id = InstanceID.random()
        let group = "\(root)/p/\(id).conmon"
        try Files.makeDirectories(group)
        let files = [
            "\(root)/cgroup.controllers", "\(root)/cgroup.subtree_control", "\(root)/p/cgroup.subtree_control",
            "\(group)/cgroup.procs", "\(group)/memory.max", "\(group)/memory.swap.max", "\(group)/cpu.max",
        ]
        for file in files { try Files.writeDurably(file, []) }
        try Files.writeExisting("\(root)/cgroup.subtree_control", "cpu io memory pids")
        let cgroups = HostCgroups(parent: "p", root: root)
        #expect(cgroups.version == .v2)
        #expect(try cgroups.makeMonitor(id) == ["\(group)/cgroup.procs"])
        try cgroups.limitMonitor(id)
        #expect(try Files.readText("\(root)/cgroup.subtree_control") == "cpu io memory pids")
        #expect(try Files.readText("\(root)/p/cgroup.subtree_control") == "+cpu +memory +pids")
        #expect(try Files.readText("\(group)/memory.max") == "\(64 << 20)")
        #expect(try Files.readText("\(group)/memory.swap.max") == "0")
        #expect(try Files.readText("\(group)/cpu.max") == "20000 100000")
        // One that goes while its members are looked up has none.
        try cgroups.killMembers("gone")
    }

    @Test func whatAJobLeavesEndsWithIt() throws {
        try withGroups { cgroups in
            let work = HostWork(cgroups: cgroups, memoryBytes: 64 << 20, logger: Logger(label: "test"))
            let stray = try work.run("job") { (group) throws(PaaSError) in
                try ImageFailure.wrap("job") { () throws(SystemError) in
                    let spec = group.entered(
                        ProcessSpec("/bin/bash", ["-c", "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"]))
                    return pid_t(try Command(spec).run().text.trimmingWhitespace()) ?? -1
                }
            }
            #expect(stray > 0)
            #expect(try isGone(stray))
            #expect(try cgroups.groups().isEmpty)
        }
    }

    @Test func aJobIsLimitedInMemory() throws {
        try withGroups { cgroups in
            let work = HostWork(cgroups: cgroups, memoryBytes: 64 << 20, logger: Logger(label: "test"))
            let program = "x = b'x' * (300 << 20); print(len(x))"
            let (status, starved) = try work.run("job") { (group) throws(PaaSError) in
                try ImageFailure.wrap("job") { () throws(SystemError) in
                    let spec = group.entered(ProcessSpec("/usr/bin/python3", ["-c", program]))
                    return (try Command(spec).run().status, try group.ranOutOfMemory())
                }
            }
            #expect(status == 128 + SIGKILL)
            #expect(starved)
        }
    }

    @Test func theJobsOfTheDeadAreEndedAndThoseOfTheLivingGoOn() throws {
        try withGroups { cgroups in
            let work = HostWork(cgroups: cgroups, memoryBytes: 64 << 20, logger: Logger(label: "test"))
            // A number that cannot be, or that had another start.
            let dead = try sleeper(cgroups.make("work.\(getpid())-1.1"))
            let mine = try Host.startTime(of: getpid()) ?? 0
            let living = try sleeper(cgroups.make("work.\(getpid())-\(mine).99999"))
            try work.endLeftovers(all: false)
            #expect(try dead.wait() == 128 + SIGKILL)
            #expect(try living.poll() == nil)
            try work.endLeftovers(all: true)
            #expect(try living.wait() == 128 + SIGKILL)
            #expect(try cgroups.groups().isEmpty)
        }
    }

    @Test func aProcessWithoutAStartTimeIsNobodys() throws {
        let start = try #require(try Host.startTime(of: getpid()))
        #expect(HostFacts.lives(getpid(), startTime: start))
        #expect(!HostFacts.lives(getpid(), startTime: start + 1))
        #expect(!HostFacts.lives(getpid(), startTime: nil))
    }
}
