import CShim
import Domain
import Glibc
import Logging
import OS

extension ContainerService {
    static let readinessSeconds = 0.04
    /// A look that took so long is repeated after so many times as long, at the earliest.
    static let readinessCostFactor = 20.0
    static let tickSeconds = 0.25
    static let leftoverSeconds = 5.0
    static let maximumSockets = 32

    /// Starts the threads that notice ends, limits and readiness.
    func startWatching() throws(PaaSError) {
        let exits = ContainerPaths.exits(settings)
        let watch = slipway_inotify_watch(exits, UInt32(IN_MOVED_TO | IN_CLOSE_WRITE))
        if watch >= 0 {
            Thread.start("exits") { self.followExits(OwnedFD(watch)) }
        } else {
            // The kernel counts watches for the user, whoever of root's programs has them: no reason not to serve.
            logger.error(
                "container exits can't be watched, so they are seen later; raise fs.inotify.max_user_instances",
                metadata: ["error": "\(SystemError("watch \(exits)", errno: -watch))"])
            Thread.start("exits") {
                while !self.isClosed(after: Self.tickSeconds) { self.noticeExits() }
            }
        }
        Thread.start("limits") { while !self.isClosed(after: Self.tickSeconds) { self.tick() } }
        Thread.start("leftovers") { while !self.isClosed(after: Self.leftoverSeconds) { self.clearLeftovers() } }
        Thread.start("readiness") {
            var due: [InstanceID: Double] = [:]
            while !self.isClosed(after: Self.readinessSeconds) { self.lookForReadiness(&due) }
        }
    }

    private func followExits(_ watch: consuming OwnedFD) {
        let fd = watch
        while !isClosed(after: 0) {
            // Which names changed does not matter: looking at all that run is cheap, and never misses one.
            var waiting = pollfd(fd: fd.raw, events: Int16(POLLIN), revents: 0)
            if poll(&waiting, 1, 1000) > 0, (try? fd.read(upTo: 65_536)) == nil {
                logger.critical("the watch on container exits broke; the regular look goes on")
                return
            }
            noticeExits()
        }
    }

    private func noticeExits() {
        for entry in table.all where entry.record.phase == .running { noticeExit(entry.record.id) }
    }

    /// Records the end of a container if conmon has reported it.
    func noticeExit(_ id: InstanceID) {
        let file = ContainerPaths.exits(settings) + "/\(id)"
        var info = stat()
        guard lstat(file, &info) == 0, let text = (try? Files.readText(file, limit: 64)) ?? nil, let code = Int32(text)
        else { return }
        let at = Timestamp(microseconds: Int64(info.st_mtim.tv_sec) * 1_000_000 + Int64(info.st_mtim.tv_nsec) / 1000)
        end(id, code: code < 0 ? nil : code, at: at)
    }

    /// Records the end of a container whose process and monitor are both gone without a report.
    func noticeDeath(_ id: InstanceID) {
        noticeExit(id)
        guard let record = table[id]?.record, record.phase == .running,
            !HostFacts.lives(record.pid, startTime: record.pidStartTime),
            !HostFacts.lives(record.monitorPid, startTime: record.monitorStartTime)
        else { return }
        noticeExit(id)
        end(id, code: nil, at: Timestamp.now())
    }

    private func end(_ id: InstanceID, code: Int32?, at: Timestamp) {
        guard let record = table[id]?.record, record.phase == .running else { return }
        let paths = ContainerPaths(settings: settings, id: id)
        let noted = Files.exists(paths.bundle + "/oom")
        let counted = (try? cgroups.outOfMemory(id)) ?? false
        do {
            try table.update(id, persist: persist) {
                guard $0.record.phase == .running else { return }
                $0.record.phase = .exited
                $0.record.exitCode = code
                $0.record.exitedAt = at
                $0.record.outOfMemory = noted || counted
                $0.sockets = []
            }
        } catch {
            logger.error(
                "the end of a container could not be recorded",
                metadata: [
                    "instance": "\(id)", "error": "\(ErrorChain(error))",
                ])
        }
        logger.info(
            "container ended",
            metadata: [
                "instance": "\(id)", "name": "\(record.name)", "code": "\(code.map { String($0) } ?? "unknown")",
                "outOfMemory": "\(noted || counted)",
            ])
    }

    /// Time limits, and ends that nobody reported.
    private func tick() {
        let now = Monotonic.now()
        let uptime = HostFacts.uptime()
        for entry in table.all where entry.record.phase == .running {
            let record = entry.record
            if let deadline = record.deadline, uptime >= deadline {
                enforceLimit(entry, now: now, late: uptime - deadline)
            }
            noticeDeath(record.id)
        }
        logs.keepWithinBudget(
            running: table.all.filter { $0.record.phase == .running }.map {
                LogStore.Running(app: $0.record.app, instance: $0.record.id)
            })
    }

    private func enforceLimit(_ entry: ContainerTable.Entry, now: Double, late: Double) {
        let record = entry.record
        do throws(PaaSError) {
            if !record.timedOut {
                logger.info("container reached its time limit", metadata: ["instance": "\(record.id)"])
                try table.update(record.id, persist: persist) {
                    $0.record.timedOut = true
                    $0.killAt = now + Self.limitGraceSeconds
                }
                try signal(record, SIGTERM)
            } else if now >= entry.killAt ?? 0 {
                // Without a time to kill at, an engine before this one sent SIGTERM.
                try signal(record, SIGKILL)
            }
        } catch {
            logger.error(
                "a time limit could not be enforced",
                metadata: [
                    "instance": "\(record.id)", "error": "\(ErrorChain(error))",
                ])
        }
    }

    /// - Parameter due: when to look at a container next. A look at one with many sockets takes long, and must not keep the
    /// others waiting.
    private func lookForReadiness(_ due: inout [InstanceID: Double]) {
        let waiting = table.all.filter { $0.record.phase == .running && !$0.record.ready }
        let ids = Set(waiting.map(\.record.id))
        due = due.filter { ids.contains($0.key) }
        for entry in waiting {
            let record = entry.record
            let began = Monotonic.now()
            guard began >= due[record.id] ?? 0 else { continue }
            defer { due[record.id] = Monotonic.now() + (Monotonic.now() - began) * Self.readinessCostFactor }
            guard let pid = record.pid, HostFacts.lives(pid, startTime: record.pidStartTime) else { continue }
            let sockets = Self.sockets(of: pid, protocols: Set(record.requiredPorts.map(\.protocol)))
            let ready = record.requiredPorts.allSatisfy { port in
                sockets.contains { $0.protocol == port.protocol && $0.port == port.number && !$0.isLoopback }
            }
            if ready {
                do throws(PaaSError) {
                    try table.update(record.id, persist: persist) {
                        $0.record.ready = true
                        $0.sockets = []
                    }
                } catch {
                    logger.error(
                        "readiness could not be recorded",
                        metadata: [
                            "instance": "\(record.id)", "error": "\(ErrorChain(error))",
                        ])
                }
            } else {
                let seen = Array(sockets.prefix(Self.maximumSockets))
                table.update(record.id, persist: { (_: ContainerRecord) throws(Never) in }) { $0.sockets = seen }
            }
        }
    }

    /// Sorted, without doubles.
    private static func sockets(of pid: Int32, protocols: Set<TransportProtocol>) -> [ObservedSocket] {
        var found: Set<ObservedSocket> = []
        for `protocol` in protocols {
            let files: [String] =
                switch `protocol` {
                case .tcp: ["tcp", "tcp6"]
                case .udp: ["udp", "udp6"]
                case .sctp: ["sctp/eps"]
                }
            for file in files {
                // The process may just have ended, and not every kernel has every protocol: nothing is seen then.
                guard let bytes = (try? Self.readTable("/proc/\(pid)/net/\(file)")) ?? nil else { continue }
                found.formUnion(
                    `protocol` == .sctp ? ProcNet.sctpSockets(bytes) : ProcNet.sockets(bytes, protocol: `protocol`))
            }
        }
        return found.sorted {
            ($0.protocol.rawValue, $0.port, $0.address) < ($1.protocol.rawValue, $1.port, $1.address)
        }
    }

    private static func readTable(_ path: String) throws(SystemError) -> [UInt8]? {
        let file = try OwnedFD.open(path, O_RDONLY)
        return try file.readFully(ProcNet.maximumBytes)
    }

    static func signal(_ record: ContainerRecord, _ number: Int32) throws(SystemError) {
        guard let pid = record.pid else { return }
        let result = slipway_pidfd_open(pid)
        if result == -ESRCH { return }
        let fd = OwnedFD(try Syscall.shim("pidfd_open", result))
        // Now that the number can't change its owner any more, see whose it is.
        guard HostFacts.lives(pid, startTime: record.pidStartTime) else { return }
        let sent = slipway_pidfd_send_signal(fd.raw, number)
        if sent != -ESRCH { try Syscall.shim("pidfd_send_signal", sent) }
    }
}
