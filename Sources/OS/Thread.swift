import CShim
import Glibc

/// Plain threads, for work that blocks.
public enum Thread {
    private final class Start {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Starts a detached thread without which the program can't go on: it ends when the host has none left. `name` has at most
    /// 15 bytes in the kernel.
    public static func start(_ name: String, stackBytes: Int = 1 << 20, _ body: @escaping @Sendable () -> Void) {
        do throws(SystemError) {
            try tryStart(name, stackBytes: stackBytes, body)
        } catch {
            preconditionFailure("\(error)")
        }
    }

    /// The same for work that others ask for: they may ask for more than the host can start.
    public static func tryStart(
        _ name: String, stackBytes: Int = 1 << 20, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, stackBytes)
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let result = pthread_create(
            &thread, &attributes,
            { raw in
                guard let raw else { return nil }
                let start = Unmanaged<Start>.fromOpaque(raw).takeRetainedValue()
                slipway_set_thread_name(String(start.name.prefix(15)))
                start.body()
                return nil
            }, start.toOpaque())
        pthread_attr_destroy(&attributes)
        guard result == 0 else {
            start.release()
            throw SystemError("start the thread \(name)", errno: result)
        }
    }
}
