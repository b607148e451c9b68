import Dispatch

/// One serial thread for the small files of the log.
struct LineWorker: Sendable {
    private let queue = DispatchQueue(label: "platform-lines")

    func submit(_ work: @escaping @Sendable () -> Void) { queue.async(execute: work) }

    func run<T: Sendable>(_ work: @escaping @Sendable () -> T) async -> T {
        await withCheckedContinuation { continuation in queue.async { continuation.resume(returning: work()) } }
    }
}
