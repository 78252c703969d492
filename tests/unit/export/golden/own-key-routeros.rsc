:if ([:tonum [:pick [/system resource get version] 0 [:find [/system resource get version] "."]]] < 7) do={ :error "Sallyport needs RouterOS 7: RouterOS 6 has no WireGuard." }
{
:put ("Sallyport: " . "Caf\C3\A9 \22\24(reboot)\22 \60x\60 \5C" . " of " . "it\27s \7BAcme\7D; \231")
:if ([:len [/interface/wireguard/find where comment="sallyport"]] = 0) do={ /interface/wireguard/add name="sallyport" comment="sallyport" }
/interface/wireguard/set [/interface/wireguard/find where comment="sallyport"] mtu=1420
:local tunnel [/interface/wireguard/get [/interface/wireguard/find where comment="sallyport"] name]
:if ([:len [/interface/wireguard/peers/find where comment="sallyport"]] = 0) do={ /interface/wireguard/peers/add interface=$tunnel public-key="AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=" comment="sallyport" }
/interface/wireguard/peers/set [/interface/wireguard/peers/find where comment="sallyport"] interface=$tunnel public-key="AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=" preshared-key="" endpoint-address="vpn.example.com" endpoint-port=51820 persistent-keepalive=25s allowed-address="10.0.0.0/8,fd12::/48,192.168.88.0/24"
:local wanted [:toarray ""]
:if ([:len [/ip/address/find where comment="sallyport"]] = 0) do={ /ip/address/add interface=$tunnel address="10.100.0.2/32" comment="sallyport" }
/ip/address/set [/ip/address/find where comment="sallyport"] interface=$tunnel address="10.100.0.2/32"
:set wanted {"10.0.0.0/8";"192.168.88.0/24"}
:foreach prefix in=$wanted do={ :if ([:len [/ip/route/find where comment="sallyport" and dst-address=$prefix]] = 0) do={ /ip/route/add dst-address=$prefix gateway=$tunnel comment="sallyport" } }
:foreach route in=[/ip/route/find where comment="sallyport"] do={ :if ([:typeof [:find $wanted [:tostr [/ip/route/get $route dst-address]]]] = "nil") do={ /ip/route/remove $route } }
:if ([:len [/system/scheduler/find where comment="sallyport"]] = 0) do={ /system/scheduler/add name="sallyport" comment="sallyport" }
/system/scheduler/set [/system/scheduler/find where comment="sallyport"] interval=1m policy=read,write,test on-event=":local peer [/interface/wireguard/peers/find where comment=\22sallyport\22]\0A:local seen [/interface/wireguard/peers/get \24peer last-handshake]\0A:local silent true\0A:if ([:typeof \24seen] = \22time\22) do=\7B :if (\24seen \3C 3m) do=\7B :set silent false \7D \7D\0A:if (\24silent) do=\7B\0A:local now [:tostr [:resolve \22vpn.example.com\22]]\0A:local used [:tostr [/interface/wireguard/peers/get \24peer current-endpoint-address]]\0A:if (\24now \21= \24used) do=\7B\0A/interface/wireguard/peers/disable \24peer\0A/interface/wireguard/peers/enable \24peer\0A\7D\0A\7D\0A"
:do {
:if ([:len [/ipv6/address/find where comment="sallyport"]] = 0) do={ /ipv6/address/add interface=$tunnel address="fd12::7/128" advertise=no comment="sallyport" }
/ipv6/address/set [/ipv6/address/find where comment="sallyport"] interface=$tunnel address="fd12::7/128"
:set wanted {"fd12::/48"}
:foreach prefix in=$wanted do={ :if ([:len [/ipv6/route/find where comment="sallyport" and dst-address=$prefix]] = 0) do={ /ipv6/route/add dst-address=$prefix gateway=$tunnel comment="sallyport" } }
:foreach route in=[/ipv6/route/find where comment="sallyport"] do={ :if ([:typeof [:find $wanted [:tostr [/ipv6/route/get $route dst-address]]]] = "nil") do={ /ipv6/route/remove $route } }
} on-error={ :put "IPv6 could not be set up on this router; IPv4 is. To leave it out: sallyport router config --family ipv4" }
:local known [/interface/wireguard/get $tunnel public-key]
:if ($known != "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=") do={ :put ("The key of this router is another one than the gateway knows. At the gateway: sallyport router rotate ROUTER --public-key " . $known) }
}
