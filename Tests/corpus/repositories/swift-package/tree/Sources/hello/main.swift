import Glibc

let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
var address = sockaddr_in()
address.sin_family = sa_family_t(AF_INET)
address.sin_port = UInt16(String(cString: getenv("PORT")))!.bigEndian
let bound = withUnsafePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
}
guard bound == 0, listen(server, 16) == 0 else { exit(1) }
while true {
    let client = accept(server, nil, nil)
    var byte: UInt8 = 0
    while read(client, &byte, 1) == 1 && byte != 10 {}
    let answer = Array("hello from Swift\n".utf8)
    _ = write(client, answer, answer.count)
    close(client)
}
