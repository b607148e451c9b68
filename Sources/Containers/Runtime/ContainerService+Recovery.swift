import Domain
import Glibc
import Logging
import OS

extension ContainerService {
    /// Takes over what an engine before this one left: what runs is adopted, what was half made is undone. Then watches.
    public func start() throws(PaaSError) {
        do throws(SystemError) {
            let changed = try KernelLimits.raiseHost()
            if !changed.isEmpty {
                logger.notice(
                    "limits of the kernel raised", metadata: ["settings": "\(changed.joined(separator: " "))"])
            }
        } catch {
            throw error.asPaaSError("the kernel's limits can't be raised")
        }
        var living: [ContainerRecord] = []
        /// Half made, but may have run: their records stay.
        var ended: [ContainerRecord] = []
        var broken: Set<InstanceID> = []
        do throws(SystemError) {
            for name in try Files.list(ContainerPaths.root(settings)) {
                guard let id = InstanceID(name) else { continue }
                let record = ContainerRecord.read(ContainerPaths(settings: settings, id: id).state)
                if let record, record.id == id, record.phase != .creating, record.bootID == bootID {
                    living.append(record)
                } else if let record, record.id == id, record.mayHaveRun == true, record.bootID == bootID {
                    ended.append(record)
                } else {
                    broken.insert(id)
                }
            }
            // Everything is put on record before it exists; what has no record is left from a folder that was removed.
            let known = Set((living + ended).map(\.id))
            for id in try cgroups.known() where !known.contains(id) { broken.insert(id) }
            for name in try Files.list(runtime.root) {
                if let id = InstanceID(name), !known.contains(id) { broken.insert(id) }
            }
            for name in try Files.list(ContainerPaths.exits(settings)) {
                if let id = InstanceID(name), !known.contains(id) { broken.insert(id) }
            }
            for name in try Files.list(settings.runDirectory) where name.hasPrefix("preflight.") {
                try Files.removeTree(settings.runDirectory + "/" + name)
            }
        } catch {
            throw error.asPaaSError("the run directory can't be read")
        }
        do {
            for trial in try cgroups.trials() { try trial.removeAll() }
        } catch {
            throw (error as? PaaSError)
                ?? PaaSError(.internal, "the control groups of a trial start can't be removed", cause: error)
        }
        do {
            try network.start(living: (living + ended).map(\.id))
        } catch {
            throw (error as? PaaSError)
                ?? PaaSError(.internal, "the network of containers can't be set up", cause: error)
        }
        for record in living {
            table.insert(record)
            if record.phase == .running { noticeDeath(record.id) }
            let now = table[record.id]?.record
            logger.info(
                "container adopted",
                metadata: [
                    "instance": "\(record.id)", "name": "\(record.name)", "phase": "\(now?.phase.rawValue ?? "")",
                ])
        }
        for record in ended { table.insert(record) }
        for id in broken.union(ended.map(\.id)) {
            logger.warning("undoing a half-made container", metadata: ["instance": "\(id)"])
            try killStrays(id)
            do throws(PaaSError) {
                try undo(id)
            } catch {
                // Tried again later; the containers that are well must not wait for it.
                logger.warning("a half-made container is left for later", metadata: ["instance": "\(id)"])
            }
        }
        try startWatching()
    }

    /// A monitor that was forked when the engine died may not have entered its cgroup yet: it is known by its arguments.
    private func killStrays(_ id: InstanceID) throws(PaaSError) {
        let bundle = ContainerPaths(settings: settings, id: id).bundle
        do throws(SystemError) {
            for name in try Files.list("/proc") {
                guard let pid = pid_t(name), pid != getpid(),
                    let bytes = (try? Files.read("/proc/\(pid)/cmdline", limit: 64 << 10)) ?? nil
                else { continue }
                let words = bytes.split(separator: 0)
                guard let program = words.first, words.contains(where: { $0.elementsEqual(bundle.utf8) }),
                    program.elementsEqual(HostPrograms.conmon.utf8) || program.elementsEqual(runtime.path.utf8)
                else { continue }
                kill(pid, SIGKILL)
            }
        } catch {
            throw error.asPaaSError("/proc can't be read")
        }
    }

    /// A full list first, then changes; to be given back with `unfollow`.
    func follow() -> EventQueue { table.follow() }
    func unfollow(_ queue: EventQueue) { table.unfollow(queue) }
}
