import CLibUV
import Synchronization

/// The only way into a loop from other threads: messages in order, and one wake-up for all that wait.
final class Mailbox<Message: Sendable>: Sendable {
    private struct Signal: @unchecked Sendable {
        // SAFETY: uv_async_send is the one libuv call that any thread may make; the handle is used only under the
        // mailbox's lock and is taken out of it before it is closed.
        let handle: UnsafeMutablePointer<uv_async_t>
    }

    private struct State {
        var messages: [Message] = []
        var signal: Signal?
        var closed = false
    }

    private let state = Mutex(State())

    /// Queues a message. False once the loop has ended: the caller keeps what the message stood for.
    @discardableResult
    func send(_ message: Message) -> Bool {
        state.withLock { state in
            if state.closed { return false }
            state.messages.append(message)
            // The first message of a batch wakes the loop; the others are taken with it.
            if state.messages.count == 1, let signal = state.signal { uv_async_send(signal.handle) }
            return true
        }
    }

    /// Takes all that is queued; `spare` is an emptied array whose memory is used for the next batch.
    func take(reusing spare: consuming [Message]) -> [Message] {
        spare.removeAll(keepingCapacity: true)
        return state.withLock { state in
            let batch = state.messages
            state.messages = spare
            return batch
        }
    }

    fileprivate func attach(_ handle: UnsafeMutablePointer<uv_async_t>) {
        let signal = Signal(handle: handle)
        state.withLock { state in
            state.signal = signal
            if !state.messages.isEmpty { uv_async_send(signal.handle) }
        }
    }

    /// No message is accepted from here on. Returns those that were not taken.
    fileprivate func close() -> [Message] {
        state.withLock { state in
            state.closed = true
            state.signal = nil
            let rest = state.messages
            state.messages = []
            return rest
        }
    }
}

/// The loop's end of a mailbox.
final class MailboxReceiver<Message: Sendable> {
    private let mailbox: Mailbox<Message>
    private let wake: AsyncHandle
    private var spare: [Message] = []

    init(_ mailbox: Mailbox<Message>, loop: UVLoop, _ receive: @escaping (Message) -> Void) throws(UVError) {
        self.mailbox = mailbox
        wake = try AsyncHandle(loop: loop)
        wake.body = { [unowned self] in
            let batch = self.mailbox.take(reusing: self.spare)
            self.spare = []
            for message in batch { receive(message) }
            self.spare = batch
        }
        mailbox.attach(wake.raw)
    }

    /// Returns the messages that nobody will handle any more.
    func close() -> [Message] {
        let rest = mailbox.close()
        wake.close()
        return rest
    }
}

/// A `uv_async_t` that keeps itself alive until it is closed.
private final class AsyncHandle {
    let raw: UnsafeMutablePointer<uv_async_t>
    var body: (() -> Void)?

    init(loop: UVLoop) throws(UVError) {
        raw = UVMemory.handle(UV_ASYNC)
        let result = uv_async_init(loop.raw, raw) { handle in
            guard let data = handle?.pointee.data else { return }
            Unmanaged<AsyncHandle>.fromOpaque(data).takeUnretainedValue().body?()
        }
        if result < 0 {
            raw.deallocate()
            throw UVError("uv_async_init", code: result)
        }
        raw.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    func close() {
        body = nil
        uv_close(UnsafeMutableRawPointer(raw).assumingMemoryBound(to: uv_handle_t.self)) { handle in
            guard let handle, let data = handle.pointee.data else { return }
            let owner = Unmanaged<AsyncHandle>.fromOpaque(data).takeRetainedValue()
            owner.raw.deallocate()
        }
    }
}
