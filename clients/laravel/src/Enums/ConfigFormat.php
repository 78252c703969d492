<?php

declare(strict_types=1);

namespace Sallyport\Laravel\Enums;

/** The forms in which the gateway writes a router's configuration. */
enum ConfigFormat: string
{
    /** For wg-quick, NetworkManager, the apps, and wg-import of RouterOS. */
    case WgQuick = 'wg-quick';

    /** A script for RouterOS 7. */
    case RouterOs = 'routeros';

    /** A script for OpenWrt. */
    case OpenWrt = 'openwrt';

    /** A script that writes systemd-networkd's files. */
    case Networkd = 'networkd';

    /** The wg-quick text as a QR code, in SVG. */
    case Qr = 'qr';
}
